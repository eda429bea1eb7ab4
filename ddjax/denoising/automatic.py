"""The witness that `denoise` asks by default: the best that was measured for the size and kind of the input."""

import logging
from typing import NamedTuple

from ddjax.denoising.asking import FEATURES, IMAGES, FeatureSet, Question, Testimony, Witness
from ddjax.denoising.training import NETWORK
from ddjax.types import TrainSet

log = logging.getLogger("ddjax.denoising")

FEW = 3000  # images: fewer teach a network from scratch little


class Choice(NamedTuple):
    """What `auto` asks and why. The first witness is quick, and the last one decides."""

    methods: tuple[str, ...]
    why: str


def chosen(data: TrainSet | FeatureSet) -> Choice:
    """The witnesses for data of this kind and size."""
    if isinstance(data, FeatureSet):
        return Choice(("prototypes",), "features need no network")
    n = len(data.labels)
    if n < FEW:
        return Choice(
            ("ridge*3",),
            f"{n} images teach a network from scratch little, so typical patches are their features; "
            "features of a pretrained network, with features=, would find more",
        )
    return Choice(("ridge", "ridge+plain*3"), f"{n} images teach a network")


def _ask(question: Question) -> Testimony:
    choice = chosen(question.data)
    log.info("auto asks %s: %s", ", then ".join(choice.methods), choice.why)
    for method in choice.methods:
        said = question.consult(method)
    return said


AUTO = Witness(_ask, (IMAGES, FEATURES), ("plain_epochs", *NETWORK))
