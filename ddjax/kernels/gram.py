"""Gram matrices at the highest matmul precision, and block-wise evaluation of kernels.

By default an accelerator multiplies float32 matrices in TF32 or bfloat16. The resulting relative error of about 1e-3
in the entries of a kernel is far larger than the ridges with which kernels are inverted.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Kernel = Callable[[Array, Array], Array]  # (x [n ...], y [m ...]) -> [n m]


def matmul_highest(a: Float[Array, "n d"], b: Float[Array, "d *m"]) -> Float[Array, "n *m"]:
    """`a @ b` in full float32 (or float64) on every backend."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def gram(features_a: Float[Array, "n d"], features_b: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """Inner products of all pairs of rows, not normalised.

    Args:
      features_a: one row per example.
      features_b: one row per example.

    Returns:
      features_a features_b^T. With a network's features as rows it is the conjugate kernel.

    Example:
      >>> import jax.numpy as jnp
      >>> gram(jnp.eye(2), jnp.ones((1, 2))).tolist()
      [[1.0], [1.0]]
    """
    return matmul_highest(features_a, features_b.T)


def blocked(kernel: Kernel, x: Array, y: Array, block: int) -> Float[Array, "n m"]:
    """`kernel(x, y)` computed in blocks of rows, with one block in memory at a time.

    The backward pass recomputes the blocks, so its memory is bounded as well. The last block is padded with copies of
    the last row; the kernel is therefore compiled once and receives real inputs only.

    Args:
      kernel: (x, y) -> [n m].
      x: inputs, one per row.
      y: inputs, one per row.
      block: rows of x per block.

    Returns:
      The kernel matrix.

    Raises:
      ValueError: `block` is less than 1.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.arange(6.0).reshape(3, 2)
      >>> bool((blocked(gram, x, x, block=2) == gram(x, x)).all())
      True
    """
    if block < 1:
        raise ValueError(f"a block must have at least 1 row; got block={block}")
    return map_rows(lambda part: kernel(part, y), x, block)


def map_rows(function: Callable[[Array], Any], rows: Array, block: int) -> Any:
    """Apply `function` to `block` rows at a time, or to all rows if `block` is 0.

    A backward pass computes the blocks again. Copies of the last row fill the last block.
    """
    n = len(rows)
    if not block or n <= block:
        return function(rows)
    parts = lax.map(jax.checkpoint(function), split(rows, block, "edge"))
    return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[:n], parts)


def split(rows: Array, block: int, mode: str) -> Array:
    """Rows as blocks along a new leading axis; the last block is padded by the `mode` of `jnp.pad`."""
    filled = jnp.pad(rows, ((0, -len(rows) % block), *[(0, 0)] * (rows.ndim - 1)), mode=mode)
    return filled.reshape(-1, block, *rows.shape[1:])
