"""Networks by name: the table of the published ones, and the construction of a fork's own."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from ddjax import names, ranges
from ddjax.models.from_linen import from_linen, in_words
from ddjax.models.layers import ACTIVATIONS, INITS, NORMS, Style
from ddjax.models.networks.alexnet import AlexNet
from ddjax.models.networks.convnet import ConvNet
from ddjax.models.networks.densenet import DenseNet
from ddjax.models.networks.lenet import LeNet
from ddjax.models.networks.mlp import MLP
from ddjax.models.networks.resnet import ResNet
from ddjax.models.networks.vgg import VGG11
from ddjax.ranges import Count, checked
from ddjax.types import Model

_STYLE = tuple(field.name for field in dataclasses.fields(Style))
_NOT_OPTIONS = ("num_classes", "style", "parent", "name")


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """A linen module with default options. Fields of `Style` are options like those of the module."""

    module: type[nn.Module]
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def options(self) -> tuple[str, ...]:
        """The names of all options."""
        own = [field.name for field in dataclasses.fields(self.module) if field.name not in _NOT_OPTIONS]
        return (*own, *_STYLE)

    def __call__(self, image_shape: tuple[int, int, int], num_classes: int, **options: Any) -> nn.Module:
        """The module with its options; a ValueError names an unknown option or a value outside its range."""
        del image_shape  # our modules read it from their first images
        wanted = ranges.annotations(self.module) | ranges.annotations(Style)
        for option, value in options.items():
            names.check_known(f"option of {self.module.__name__}", option, self.options())
            ranges.check(value, wanted[option], f"option {option} of {self.module.__name__}")
        chosen = {**self.defaults, **options}
        base = next(field.default for field in dataclasses.fields(self.module) if field.name == "style")
        style = dataclasses.replace(base, **{name: chosen.pop(name) for name in _STYLE if name in chosen})
        for table, name, what in ((NORMS, style.norm, "norm"), (INITS, style.init, "init")):
            names.choose(table, name, what)
        names.choose(ACTIVATIONS, style.activation, "activation")
        return self.module(num_classes=num_classes, style=style, **chosen)


_RCIG = {"norm": "none", "init": "lecun"}
_DANCE = {"norm": "batch", "init": "he", "stem": "pooled", "width": None}

NETWORKS: Mapping[str, Callable[..., nn.Module | Model]] = {
    "convnet": NetworkSpec(ConvNet),
    "convnet_rcig": NetworkSpec(ConvNet, {**_RCIG, "width_growth": 2, "batch_momentum": 0.1}),
    # DATM and dataset condensation: instance norm, PyTorch's initialisation
    "resnet10": NetworkSpec(ResNet, {"blocks": 1}),
    "resnet18": NetworkSpec(ResNet),
    "resnet18_ap": NetworkSpec(ResNet, {"averaged": True, "pooling": "flatten"}),
    "resnet18_rcig": NetworkSpec(ResNet, {**_RCIG, "pooling": "flatten"}),
    # DANCE: batch norm (the average-pooled ones: instance norm), He initialisation, stems by side
    "resnet10_dance": NetworkSpec(ResNet, {**_DANCE, "blocks": 1}),
    "resnet18_dance": NetworkSpec(ResNet, _DANCE),
    "resnet_ap10": NetworkSpec(ResNet, {**_DANCE, "norm": "instance", "blocks": 1, "averaged": True}),
    "resnet_ap18": NetworkSpec(ResNet, {**_DANCE, "norm": "instance", "averaged": True}),
    "vgg11": NetworkSpec(VGG11),
    "vgg11_rcig": NetworkSpec(VGG11, {**_RCIG, "width": 128}),
    "alexnet": NetworkSpec(AlexNet),
    "alexnet_rcig": NetworkSpec(AlexNet, {**_RCIG, "width": 128}),
    "densenet": NetworkSpec(DenseNet),
    "mlp": NetworkSpec(MLP),
    "lenet": NetworkSpec(LeNet),
}


@checked
def build(name: str, image_shape: tuple[Count, Count, Count], num_classes: Count, **options: Any) -> Model:
    """The network `name` for images [n, *image_shape], as pure functions.

    Args:
      name: a name of `NETWORKS`, or `module:ATTRIBUTE`, a function (image_shape, num_classes, **options) that returns a
        linen module or a Model.
      image_shape: [h w c].
      num_classes: outputs.
      **options: attributes of the network's module (for a ConvNet: depth, width, width_growth, pooling) and fields of
        `Style` (norm, activation, beta, init, batch_momentum).

    Returns:
      The network; equal arguments give the same record.

    Raises:
      ValueError: the name or an option is unknown, or the network does not fit the images.

    Example:
      >>> import jax
      >>> model = build("convnet", (8, 8, 1), 3, width=4, depth=1)
      >>> sorted(jax.eval_shape(model.init, jax.random.key(0)))
      ['conv_0', 'head', 'norm_0']
    """
    for option, value in options.items():
        try:
            hash(value)
        except TypeError as error:
            raise ValueError(
                f"option {option} of network {name!r} must be hashable, like a tuple; got {names.briefly(value)}"
            ) from error
    return _built(name, image_shape, num_classes, **options)


@functools.lru_cache(maxsize=64)  # one record per network, so that compiled programs are reused
def _built(name: str, image_shape: tuple[int, int, int], num_classes: int, **options: Any) -> Model:
    make, own = names.choose(NETWORKS, name, "network", Callable), name not in NETWORKS
    if own:
        try:
            inspect.signature(make).bind(image_shape, num_classes, **options)
        except TypeError as error:
            raise ValueError(
                f"network {name!r} must be a function (image_shape, num_classes, **options): {error}"
            ) from error
    network = make(image_shape, num_classes, **options)
    if not isinstance(network, Model | nn.Module):
        raise ValueError(f"network {name!r} must return a linen module or a Model; got {type(network).__name__}")
    model = network if isinstance(network, Model) else from_linen(network, image_shape)
    if not model.spec:
        arguments = in_words({"num_classes": num_classes, **options})
        model = model._replace(spec=f"{name} {arguments} of images {in_words(image_shape)}")
    params = jax.eval_shape(model.init, jax.random.key(0))  # raises if the network does not fit; the trace is cached
    if own:
        logits = jax.eval_shape(model.apply, params, jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)).shape
        if logits != (2, num_classes):
            raise ValueError(
                f"network {name!r} must return logits [n {num_classes}] for {num_classes} classes; for two images it "
                f"returns {list(logits)}"
            )
    return model
