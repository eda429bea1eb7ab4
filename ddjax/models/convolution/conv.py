"""The products of every network, under the policy of `ddjax.precision`, at every order of differentiation.

Convolutions of stride 1 are two primitives, which each platform computes in its own way (`primitives`). For a CPU,
every other convolution is converted to one of stride 1. For an accelerator, it is XLA's own.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ddjax.backend import target
from ddjax.models.convolution import xla
from ddjax.models.convolution.padding import Padding, output_size
from ddjax.models.convolution.primitives import convolution
from ddjax.precision import asked, of_lax


def conv2d(
    x: Float[Array, "n h w c"],
    kernel: Float[Array, "kh kw c o"],
    strides: tuple[int, int] = (1, 1),
    padding: str | Sequence[tuple[int, int]] = "SAME",
) -> Float[Array, "n h2 w2 o"]:
    """Cross-correlation of images with a kernel, without bias.

    Arithmetic is in the dtype of the arguments; that of float32 follows the policy of `ddjax.precision`. A CPU rounds
    the same factors as an accelerator, which gives the same accuracy and no speed.

    Args:
      x: images.
      kernel: the kernel, of the same dtype.
      strides: of rows and columns.
      padding: SAME, VALID, or (low, high) per axis.

    Returns:
      The output maps.

    Raises:
      ValueError: dtypes or channels differ, or the kernel is larger than the padded images.

    Example:
      >>> import jax.numpy as jnp
      >>> conv2d(jnp.ones((1, 3, 3, 1)), jnp.ones((3, 3, 1, 1)), padding="VALID").tolist()
      [[[[9.0]]]]
    """
    if x.dtype != kernel.dtype or x.shape[3] != kernel.shape[2]:
        raise ValueError(
            f"conv2d takes images [n h w c] and a kernel [kh kw c o] of one dtype; got {x.dtype}{list(x.shape)} and "
            f"{kernel.dtype}{list(kernel.shape)}. Cast one of them, or build the network for these images."
        )
    strides, precision = tuple(strides), asked()
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    padding = tuple((int(low), int(high)) for low, high in padding)
    if min(output_size(x.shape, kernel.shape, padding)) < 1:
        raise ValueError(
            f"a kernel {list(kernel.shape[:2])} is larger than its padded images, {list(x.shape[1:3])} with padding "
            f"{padding}; use larger images, a smaller kernel or more padding"
        )
    if strides != (1, 1) and target() != "cpu":
        return xla.native(x, kernel, padding, precision, target(), strides)
    x, kernel, padding = _unstrided(x, kernel, strides, padding)
    # a negative padding crops, and so does the adjoint of a padding that is as large as the kernel
    fits = all(0 <= side < size for size, sides in zip(kernel.shape, padding, strict=False) for side in sides)
    if not fits:
        x, padding = _pad(x, padding), ((0, 0), (0, 0))
    return convolution(x, kernel, padding=padding, precision=precision)


def product(a: Float[Array, "*n d"], b: Float[Array, "d k"]) -> Float[Array, "*n k"]:
    """`a @ b` under the policy of `ddjax.precision`, for any number of leading axes of `a`.

    Args:
      a: the first factor.
      b: the second factor, of the same dtype.

    Returns:
      The product.

    Example:
      >>> import jax.numpy as jnp
      >>> product(jnp.ones((1, 3)), jnp.ones((3, 2))).tolist()
      [[3.0, 3.0]]
    """
    precision = asked()
    if target() == "cpu" and precision != "float32":  # rounds the factors, also those of derivatives
        rows = a.reshape(-1, 1, 1, a.shape[-1])
        y = convolution(rows, b[None, None], padding=((0, 0), (0, 0)), precision=precision)
        return y.reshape(*a.shape[:-1], b.shape[1])
    return jnp.matmul(a, b, precision=of_lax(precision, target()))


def _unstrided(x: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> tuple[Array, Array, Padding]:
    # the same convolution at stride 1: the pixels of each strides[0] x strides[1] block become channels
    if strides == (1, 1):
        return x, kernel, padding
    (kh, kw, c, o), (sh, sw) = kernel.shape, strides
    full_size = output_size(x.shape, kernel.shape, padding)
    h, w = ((size - 1) // stride + 1 for size, stride in zip(full_size, strides, strict=True))
    if (kh, kw) == (1, 1):  # only the first pixel of a block is used
        x = _pad(x, padding)
        return x[:, : (h - 1) * sh + 1 : sh, : (w - 1) * sw + 1 : sw], kernel, ((0, 0), (0, 0))
    th, tw = -(-kh // sh), -(-kw // sw)  # the new kernel's size
    rows, columns = h + th - 1, w + tw - 1
    (top, _), (left, _) = padding
    x = _pad(x, ((top, rows * sh - x.shape[1] - top), (left, columns * sw - x.shape[2] - left)))
    x = x.reshape(-1, rows, sh, columns, sw, c).transpose(0, 1, 3, 2, 4, 5).reshape(-1, rows, columns, sh * sw * c)
    kernel = jnp.pad(kernel, ((0, th * sh - kh), (0, tw * sw - kw), (0, 0), (0, 0)))
    kernel = kernel.reshape(th, sh, tw, sw, c, o).transpose(0, 2, 1, 3, 4, 5).reshape(th, tw, sh * sw * c, o)
    return x, kernel, ((0, 0), (0, 0))


def _pad(x: Array, padding: Padding) -> Array:
    # negative values crop
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)))
