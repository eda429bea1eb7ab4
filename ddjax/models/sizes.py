"""Sizes of networks that follow from the size of the images."""

from typing import TypeVar

W = TypeVar("W", int, None)

SMALL_SIDE = 16  # images of up to this side, such as digits, are small
SMALL_WIDTH = 32  # channels of a ConvNet for small images


def is_small(image_shape: tuple[int, ...]) -> bool:
    """Whether the smaller side of an image [h w ...] is at most `SMALL_SIDE`."""
    return min(image_shape[:2]) <= SMALL_SIDE


def auto_width(image_shape: tuple[int, ...], width: int | None, large: W) -> int | W:
    """The width of a ConvNet.

    Args:
      image_shape: [h w ...].
      width: what was asked for; 0 or None choose by image size.
      large: the width for images that are not small.

    Returns:
      The number of channels.

    Example:
      >>> auto_width((8, 8, 1), 0, 128), auto_width((32, 32, 3), 0, 128), auto_width((32, 32, 3), 64, 128)
      (32, 128, 64)
    """
    return width or (SMALL_WIDTH if is_small(image_shape) else large)
