"""Gram matrices at the highest matmul precision, and kernels evaluated block by block.

An accelerator multiplies float32 matrices in TF32 or bfloat16 unless told otherwise; an error of one in a thousand
on the entries of a kernel is far above the ridges it is inverted with.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Kernel = Callable[[Array, Array], Array]  # (x [n ...], y [m ...]) -> [n m]


def matmul_highest(a: Float[Array, "n d"], b: Float[Array, "d *m"]) -> Float[Array, "n *m"]:
    """`a @ b` in full float32 (or float64) on every backend."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def gram(features_a: Float[Array, "n d"], features_b: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """Inner products of all pairs of rows, unnormalised: the conjugate kernel when rows are a network's features."""
    return matmul_highest(features_a, features_b.T)


def blocked(kernel: Kernel, x: Array, y: Array, block: int, columns: int | None = None) -> Float[Array, "n m"]:
    """`kernel(x, y)` from blocks of at most `block` rows of x (and `columns` rows of y), one block in memory at a time.

    Blocks are recomputed in the backward pass, so that its memory is bounded as well. The last block is filled up
    with copies of the last row, so that the kernel is compiled once and sees real inputs only.
    """
    if block < 1 or (columns is not None and columns < 1):
        raise ValueError(f"blocked() takes blocks of 1 row or more; got block={block}, columns={columns}")
    if columns is not None:
        return blocked(lambda rows, all_y: blocked(lambda b, a: kernel(a, b).T, all_y, rows, columns).T, x, y, block)
    n = len(x)
    if n <= block:
        return kernel(x, y)
    count = -(-n // block)
    padding = [(0, count * block - n)] + [(0, 0)] * (x.ndim - 1)
    stacked = jnp.pad(x, padding, mode="edge").reshape(count, block, *x.shape[1:])
    rows = lax.map(jax.checkpoint(lambda part: kernel(part, y)), stacked)
    return rows.reshape(count * block, -1)[:n]
