"""The width and depth of a network chosen by name."""

import inspect
from typing import Any

from ddjax.models.networks.convnet import ConvNet
from ddjax.models.registry import NETWORKS, build
from ddjax.names import choose
from ddjax.types import SMALL_SIDE, SMALL_WIDTH, Model


def build_sized(
    name: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    width: int | None = None,
    depth: int | None = None,
    usual: int | None = None,
) -> Model:
    """Build a network with a width and a depth.

    Args:
      name: a name in NETWORKS, or module:ATTRIBUTE.
      image_shape: [h w c].
      num_classes: number of outputs.
      width, depth: of the network; None keeps its defaults.
      usual: the default width of a ConvNet for images of more than 16 pixels; None keeps the network's. For smaller
        images the default is 32.

    Returns:
      The network.

    Raises:
      ValueError: the name is unknown, or the network has no such option.

    Example:
      >>> "width=8, depth=1" in build_sized("mlp", (4, 4, 1), 2, width=8, depth=1).spec
      True
    """
    options = sizes(name, width, depth)
    if width is None and getattr(choose(NETWORKS, name, "network"), "module", None) is ConvNet:
        default = SMALL_WIDTH if image_shape[0] <= SMALL_SIDE else usual
        options = ({} if default is None else {"width": default}) | options
    return build(name, tuple(image_shape), num_classes, **options)


def sizes(name: str, width: int | None, depth: int | None) -> dict[str, Any]:
    """The options `width` and `depth` of a network, without those that are None.

    Raises:
      ValueError: the name is unknown, or the network has no such option.

    Example:
      >>> sizes("mlp", 8, None)
      {'width': 8}
    """
    chosen = {option: value for option, value in (("width", width), ("depth", depth)) if value is not None}
    network = choose(NETWORKS, name, "network")
    for option in chosen:
        if not _has(network, option):
            raise ValueError(f"network {name!r} has no {option}: leave {option} out, or choose a network that has one")
    return chosen


def _has(network: Any, option: str) -> bool:
    if hasattr(network, "options"):
        return option in network.options()
    parameters = inspect.signature(network).parameters
    return option in parameters or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
