"""Convolution and its kernel gradient on a CPU, as matrix products that are fast inside loops.

XLA's own kernel gradient is tens of times slower inside `scan` than outside, and reaches half the speed of a matrix
product at best. Here, 3x3 kernels use Winograd's minimal filtering, and narrow ones use XLA's forward convolution on
all images side by side. A stack of kernels gives a stack of results, as does a stack of output gradients.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ddjax.models.convolution import winograd
from ddjax.models.convolution.padding import Padding, adjoint_padding, kernel_shape, output_size, pad
from ddjax.models.convolution.pieces import Kernels, Maps, Outputs, Stack, StackedOutputs, mapped, summed

Kernel = Float[Array, "kh kw c o"]

# mantissa bits of a rounded factor; three passes leave out the product of both remainders, a 2**-18th
MANTISSAS = {"tensorfloat32": 10, "bfloat16_3x": 16, "bfloat16": 7}
HALVES = (jnp.bfloat16, jnp.float16)  # stored, but multiplied and summed in float32
FEW = 4  # up to this number of channels, copies of shifted maps cost almost nothing
NARROW = 40  # up to this number of channels, Winograd's transforms cost more than XLA's own forward convolution


def convolve(x: Stack, kernel: Kernels, *, padding: Padding, precision: str = "float32") -> StackedOutputs:
    """Cross-correlation at stride 1.

    With a stack of kernels, each member is applied to its own images, or to images that all members share.
    """
    if x.dtype in HALVES:
        return convolve(x.astype(jnp.float32), kernel.astype(jnp.float32), padding=padding).astype(x.dtype)
    x, kernel = _rounded(x, precision), _rounded(kernel, precision)
    kh, kw, c, o = kernel.shape[-4:]
    size = output_size(x.shape, kernel.shape, padding)
    if (kh, kw) == (1, 1):
        return _product(pad(x, padding), kernel)
    if min(c, o) > FEW and c * o > NARROW**2 and winograd.suits(kernel.shape, size):
        return winograd.convolve(x, kernel, padding)
    if c <= FEW:
        return _product(windows(pad(x, padding), (kh, kw)), kernel)
    all_images = _few_outputs if o <= FEW else _side_by_side
    return mapped(lambda x, kernel: all_images(x, kernel, padding), lambda kernel: kernel, x.shape[-4], x, kernel)


def kernel_gradient(x: Stack, g: StackedOutputs, *, padding: Padding, precision: str = "float32") -> Kernels:
    """The gradient of <convolve(x, kernel), g> in the kernel; for stacks, one gradient per member."""
    if x.dtype in HALVES:
        return kernel_gradient(x.astype(jnp.float32), g.astype(jnp.float32), padding=padding).astype(x.dtype)
    x, g = _rounded(x, precision), _rounded(g, precision)
    kh, kw, c, o = shape = kernel_shape(x.shape, g.shape, padding)
    if (kh, kw) == (1, 1):
        return summed(lambda x, g: _outer(pad(x, padding), g)[None, None], x.shape[-4], x, g)
    if o <= FEW < c and max(*padding[0], *padding[1]) < min(kh, kw):  # maps and gradient exchange their roles
        return rotate(kernel_gradient(g, x, padding=adjoint_padding(padding, shape)))
    if min(c, o) > FEW and winograd.suits(shape, g.shape[-3:-1]):
        return winograd.kernel_gradient(x, g, padding)

    def some(x: Maps, g: Outputs) -> Kernel:
        x = pad(x, padding)
        if c <= FEW:
            # windows are recomputed in the processor's cache; those of `convolve` would have to be kept in memory
            return _outer(windows(x, (kh, kw)), g).reshape(shape)
        return jnp.stack([_outer(part, g) for part in _shifts(x, (kh, kw))]).reshape(shape)

    return summed(some, winograd.a_few(x.shape[-4], g.shape[-3:-1], max(c, o)), x, g)


def rotate(kernel: Kernels) -> Float[Array, "... kh kw o c"]:
    """The kernel of the adjoint convolution: rotated by 180 degrees, with inputs and outputs exchanged."""
    return jnp.swapaxes(kernel[..., ::-1, ::-1, :, :], -2, -1)


def _rounded(x: Array, precision: str) -> Array:
    # rounds factors as an accelerator does, which then sums in float32. It is not faster on a CPU, but gives the
    # accelerator's values
    mantissa = MANTISSAS.get(precision)
    return x if mantissa is None or x.dtype != jnp.float32 else lax.reduce_precision(x, 8, mantissa)


def _product(x: Stack, kernel: Array) -> StackedOutputs:
    # here and below, products have no batch axes, which would be slower
    rows, matrices = x.reshape(*x.shape[:-4], -1, x.shape[-1]), kernel.reshape(*kernel.shape[:-4], -1, kernel.shape[-1])
    if rows.ndim < matrices.ndim:  # a copy; otherwise the stacked results would be transposed
        rows = jnp.broadcast_to(rows, (len(matrices), *rows.shape))
    y = rows @ matrices
    return y.reshape(*y.shape[:-2], *x.shape[-4:-1], y.shape[-1])


def _outer(x: Float[Array, "n h w c"], g: Float[Array, "n h w o"]) -> Float[Array, "c o"]:
    return x.reshape(-1, x.shape[3]).T @ g.reshape(-1, g.shape[3])


def _shifts(x: Maps, window: tuple[int, int]) -> list[Array]:
    h, w = (x.shape[1 + i] - window[i] + 1 for i in (0, 1))
    return [x[:, i : i + h, j : j + w] for i in range(window[0]) for j in range(window[1])]


def windows(x: Stack, window: tuple[int, int]) -> Array:
    """The window that starts at each pixel, row by row, as the channels of that pixel."""
    for axis in (-2, -3):  # one axis at a time: fewer and longer copies
        taps = window[axis + 3]
        size = x.shape[axis] - taps + 1
        x = jnp.concatenate([lax.slice_in_dim(x, i, i + size, axis=axis) for i in range(taps)], axis=-1)
    return x


def _side_by_side(x: Maps, kernel: Kernel, padding: Padding) -> Outputs:
    # XLA's own convolution splits its work between threads along the columns of a map, and one map has too few columns.
    # Therefore all images form one wide map, with columns of zeros between them
    (n, h, w, c), (_, kw, _, o) = x.shape, kernel.shape
    (low, high), (h2, w2) = padding[1], output_size(x.shape, kernel.shape, padding)
    period = w + max(low, high)
    x = jnp.pad(x, ((0, 0), (0, 0), (0, period - w), (0, 0)))
    x = jnp.swapaxes(x, 0, 1).reshape(1, h, n * period, c)
    columns = (low, kw - 1 - low)  # keeps the number of columns
    y = lax.conv_general_dilated(x, kernel, (1, 1), (padding[0], columns), dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jnp.swapaxes(y.reshape(h2, n, period, o)[:, :, :w2], 0, 1)


def _few_outputs(x: Maps, kernel: Kernel, padding: Padding) -> Outputs:
    # one product for all kernel positions, then sums of shifted maps, which are small
    kh, kw, c, o = kernel.shape
    taps = jnp.moveaxis(kernel, 3, 2).reshape(-1, c)
    planes = (taps @ x.reshape(-1, c).T).reshape(kh * kw, o, *x.shape[:3])
    planes = jnp.pad(planes, ((0, 0), (0, 0), (0, 0), *padding))
    h, w = output_size(x.shape, kernel.shape, padding)
    shifted = [planes[i * kw + j, ..., i : i + h, j : j + w] for i in range(kh) for j in range(kw)]
    return jnp.moveaxis(sum(shifted), 0, -1)
