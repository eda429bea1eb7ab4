"""The ConvNets that methods distil with."""

from typing import Any

from ddjax.models import build
from ddjax.models.sizes import auto_width
from ddjax.types import Model

WIDTH = 128


def convnet(
    name: str, image_shape: tuple[int, ...], num_classes: int, *, width: int = 0, depth: int = 0, **options: Any
) -> Model:
    """A ConvNet of the published size.

    Args:
      name: convnet or convnet_rcig.
      image_shape: [h w c].
      num_classes: outputs.
      width: channels of the first block; 0 takes 128, or 32 for small images.
      depth: number of blocks; 0 derives it from the side of the images.
      **options: other options of the network.

    Raises:
      ValueError: the depth does not fit the images, or an option is unknown.
    """
    sizes = {"width": auto_width(image_shape, width, WIDTH)} | ({"depth": depth} if depth else {})
    return build(name, tuple(image_shape), num_classes, **sizes, **options)
