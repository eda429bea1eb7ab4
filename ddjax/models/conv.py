"""The one convolution that every network goes through, so that a faster one has one place to go."""

from collections.abc import Sequence

from jax import lax
from jaxtyping import Array, Float


def conv2d(
    x: Float[Array, "n h w c"],
    kernel: Float[Array, "kh kw c o"],
    strides: tuple[int, int] = (1, 1),
    padding: str | Sequence[tuple[int, int]] = "SAME",
) -> Float[Array, "n h2 w2 o"]:
    """Cross-correlation of images with a kernel, without bias; `padding` is SAME, VALID or a (low, high) per axis."""
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
