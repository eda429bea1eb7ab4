"""Convolution and its kernel gradient by XLA's own convolution, which is fast on accelerators."""

import functools
from collections.abc import Callable

import jax
from jax import lax
from jaxtyping import Array

from ddjax.models.convolution.padding import Padding, kernel_shape
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
    """As `cpu.convolve`."""
    return _of_members(functools.partial(native, padding=padding, precision=precision, platform=platform), x, kernel)


def kernel_gradient(x: Stack, g: StackedOutputs, *, padding: Padding, precision: str, platform: str) -> Kernels:
    """As `cpu.kernel_gradient`."""
    kernel = jax.ShapeDtypeStruct(kernel_shape(x.shape, g.shape, padding), x.dtype)

    def one(x: Array, g: Array) -> Array:
        return jax.linear_transpose(lambda k: native(x, k, padding, precision, platform), kernel)(g)[0]

    return _of_members(one, x, g)
