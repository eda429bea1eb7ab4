"""Sizes of networks: chosen by name, or derived from the size of the images."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from ddjax.models.networks.convnet import ConvNet
from ddjax.models.registry import NETWORKS, build
from ddjax.names import choose
from ddjax.types import Model

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

    Example:
      >>> auto_width((8, 8, 1), 0, 128), auto_width((32, 32, 3), 0, 128), auto_width((32, 32, 3), 64, 128)
      (32, 128, 64)
    """
    return width or (SMALL_WIDTH if is_small(image_shape) else large)


def build_sized(
    name: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    width: int | None = None,
    depth: int | None = None,
    usual: int | None = None,
    **options: Any,
) -> Model:
    """Build a network with a width and a depth.

    Args:
      name: a name in NETWORKS, or module:ATTRIBUTE.
      image_shape: [h w c].
      num_classes: number of outputs.
      width, depth: of the network; None keeps its defaults.
      usual: the default width of a ConvNet for images of more than 16 pixels; None keeps the network's. For smaller
        images the default is 32.
      **options: further options of the network, see `build`.

    Returns:
      The network.

    Raises:
      ValueError: the name is unknown, or the network has no such option.

    Example:
      >>> "width=8, depth=1" in build_sized("mlp", (4, 4, 1), 2, width=8, depth=1).spec
      True
    """
    chosen = sizes(name, width, depth)
    if width is None and getattr(choose(NETWORKS, name, "network"), "module", None) is ConvNet:
        default = auto_width(image_shape, None, usual)
        chosen = ({} if default is None else {"width": default}) | chosen
    return build(name, tuple(image_shape), num_classes, **chosen, **options)


def sizes(name: str, width: int | None, depth: int | None) -> dict[str, Any]:
    """The options `width` and `depth` of a network, without those that are None.

    Raises:
      ValueError: the name is unknown, or the network has no such option.

    Example:
      >>> sizes("mlp", 8, None)
      {'width': 8}
    """
    chosen = {option: value for option, value in (("width", width), ("depth", depth)) if value is not None}
    network = choose(NETWORKS, name, "network", Callable)
    for option in chosen:
        if not _has(network, option):
            raise ValueError(f"network {name!r} has no {option}: leave {option} out, or choose a network that has one")
    return chosen


def _has(network: Any, option: str) -> bool:
    if hasattr(network, "options"):
        return option in network.options()
    parameters = inspect.signature(network).parameters
    return option in parameters or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
