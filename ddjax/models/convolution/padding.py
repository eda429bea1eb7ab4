"""Sizes and paddings of convolutions at stride 1. Axes are counted from the end, so arrays may be stacks."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array

Padding = tuple[tuple[int, int], tuple[int, int]]  # (low, high) of rows and of columns, none negative


def pad(x: Array, padding: Padding) -> Array:
    """Zero rows and columns around each map of [... h w c]."""
    if padding == ((0, 0), (0, 0)):
        return x
    return jnp.pad(x, (*[(0, 0)] * (x.ndim - 3), *padding, (0, 0)))


def output_size(x: Sequence[int], kernel: Sequence[int], padding: Padding) -> tuple[int, int]:
    """Height and width of a convolution's output, from shapes."""
    return tuple(x[i - 3] + sum(padding[i]) - kernel[i - 4] + 1 for i in (0, 1))


def kernel_shape(x: Sequence[int], g: Sequence[int], padding: Padding) -> tuple[int, int, int, int]:
    """A kernel's shape, from those of input and output."""
    return *(x[i - 3] + sum(padding[i]) - g[i - 3] + 1 for i in (0, 1)), x[-1], g[-1]


def adjoint_padding(padding: Padding, kernel_shape: Sequence[int]) -> Padding:
    """The padding of the adjoint convolution."""
    return tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip(kernel_shape[-4:], padding, strict=False))
