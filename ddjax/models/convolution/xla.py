"""Convolution and its kernel gradient by XLA's own convolution, which is fast on accelerators."""

import functools
from collections.abc import Callable

import jax
from jax import lax
from jaxtyping import Array

from ddjax.models.convolution.cpu import windows
from ddjax.models.convolution.padding import Padding, kernel_shape, pad
from ddjax.models.convolution.pieces import Kernels, Stack, StackedOutputs
from ddjax.precision import of_lax

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def native(
    x: Array, kernel: Array, padding: Padding, precision: str, platform: str, strides: tuple[int, int] = (1, 1)
) -> Array:
    """Cross-correlation of one stack member, under a policy of `ddjax.precision`."""
    how = of_lax(precision, platform)
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=DIMENSIONS, precision=how)


def _of_members(function: Callable[[Array, Array], Array], *stacks: Array) -> Array:
    over = tuple(0 if stack.ndim == 5 else None for stack in stacks)
    return function(*stacks) if over == (None, None) else jax.vmap(function, over)(*stacks)


def convolve(x: Stack, kernel: Kernels, *, padding: Padding, precision: str, platform: str) -> StackedOutputs:
    """As `cpu.convolve`. On a GPU, images and kernels of a stack are multiplied as matrices.

    As a convolution they would be a grouped one, whose gradients are slow on a GPU.
    """
    if platform == "gpu" and x.ndim == kernel.ndim == 5:
        rows, *size = _rows(x, kernel.shape[1:3], padding)
        return _products(rows, kernel.reshape(len(kernel), rows.shape[2], -1), precision).reshape(*size, -1)
    return _of_members(functools.partial(native, padding=padding, precision=precision, platform=platform), x, kernel)


def kernel_gradient(x: Stack, g: StackedOutputs, *, padding: Padding, precision: str, platform: str) -> Kernels:
    """As `cpu.kernel_gradient`, and as `convolve` on a GPU."""
    shape = kernel_shape(x.shape, g.shape, padding)
    if platform == "gpu" and x.ndim == g.ndim == 5:
        rows, *_ = _rows(x, shape[:2], padding)
        flat = g.reshape(len(g), -1, g.shape[-1])
        return _products(rows.swapaxes(1, 2), flat, precision).reshape(len(g), *shape)
    kernel = jax.ShapeDtypeStruct(shape, x.dtype)

    def one(x: Array, g: Array) -> Array:
        return jax.linear_transpose(lambda k: native(x, k, padding, precision, platform), kernel)(g)[0]

    return _of_members(one, x, g)


def _rows(x: Array, window: tuple[int, int], padding: Padding) -> tuple[Array, int, int, int, int]:
    """The window of each output pixel as a row of a matrix per member, and the sizes [m n h w] of these pixels."""
    at = windows(pad(x, padding), window)
    return at.reshape(len(x), -1, at.shape[-1]), *at.shape[:-1]


def _products(a: Array, b: Array, precision: str) -> Array:
    return lax.dot_general(a, b, (((2,), (1,)), ((0,), (0,))), precision=of_lax(precision, "gpu"))
