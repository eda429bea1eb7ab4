"""Networks by name: the table of the published ones, and how a fork's own is built."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
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
class Recipe:
    """A linen module and what it is built with unless told otherwise; fields of `Style` are options like its own."""

    module: type[nn.Module]
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def options(self) -> tuple[str, ...]:
        """The names of everything that can be chosen."""
        own = [field.name for field in dataclasses.fields(self.module) if field.name not in _NOT_OPTIONS]
        return (*own, *_STYLE)

    def __call__(self, image_shape: tuple[int, int, int], num_classes: int, **options: Any) -> nn.Module:
        """The module with its options, all of which are known ones."""
        del image_shape  # our modules read it from their first images
        wanted = ranges.annotations(self.module) | ranges.annotations(Style)
        for option, value in options.items():
            if option not in self.options():
                raise names.unknown(f"option of {self.module.__name__}", option, self.options())
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
    "convnet": Recipe(ConvNet),
    "convnet_rcig": Recipe(ConvNet, {**_RCIG, "width_growth": 2, "batch_momentum": 0.1}),
    # DATM and dataset condensation: instance norm, PyTorch's initialisation
    "resnet10": Recipe(ResNet, {"blocks": 1}),
    "resnet18": Recipe(ResNet),
    "resnet18_ap": Recipe(ResNet, {"averaged": True, "pooling": "flatten"}),
    "resnet18_rcig": Recipe(ResNet, {**_RCIG, "pooling": "flatten"}),
    # DANCE: batch norm (the average-pooled ones: instance norm), He initialisation, stems by side
    "resnet10_dance": Recipe(ResNet, {**_DANCE, "blocks": 1}),
    "resnet18_dance": Recipe(ResNet, _DANCE),
    "resnet_ap10": Recipe(ResNet, {**_DANCE, "norm": "instance", "blocks": 1, "averaged": True}),
    "resnet_ap18": Recipe(ResNet, {**_DANCE, "norm": "instance", "averaged": True}),
    "vgg11": Recipe(VGG11),
    "vgg11_rcig": Recipe(VGG11, {**_RCIG, "width": 128}),
    "alexnet": Recipe(AlexNet),
    "alexnet_rcig": Recipe(AlexNet, {**_RCIG, "width": 128}),
    "densenet": Recipe(DenseNet),
    "mlp": Recipe(MLP),
    "lenet": Recipe(LeNet),
}


@checked
@functools.lru_cache(maxsize=64)  # the same network is the same record, so programs compiled for it are found again
def build(name: str, image_shape: tuple[Count, Count, Count], num_classes: Count, **options: Any) -> Model:
    """The network `name` for images [n, *image_shape], as pure functions.

    Options are the attributes of the network's module (for a ConvNet: depth, width, width_growth, pooling) and the
    fields of `Style` (norm, activation, beta, init, batch_momentum). A name `module:ATTRIBUTE` is a fork's own:
    a function (image_shape, num_classes, **options) that returns a linen module or a Model.
    """
    network = names.choose(NETWORKS, name, "network")(image_shape, num_classes, **options)
    model = network if isinstance(network, Model) else from_linen(network, image_shape)
    if not model.spec:
        asked = in_words({"num_classes": num_classes, **options})
        model = model._replace(spec=f"{name} {asked} of images {list(image_shape)}")
    jax.eval_shape(model.init, jax.random.key(0))  # what does not fit is said here, and the trace is kept for later
    return model
