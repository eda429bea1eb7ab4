"""The witness that `denoise` asks by default: the best that was measured for the size and kind of the input."""

import dataclasses
import logging
from typing import NamedTuple

from ddjax.denoising.asking import FEATURES, IMAGES, FeatureSet, Question, Testimony, Witness
from ddjax.denoising.combining import parts_of
from ddjax.denoising.costs import Cost, in_words, judging, seconds
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


def forecast(question: Question, methods: tuple[str, ...]) -> list[float]:
    """Predicted seconds until each method has answered; a witness that was asked before costs nothing again."""
    data, plan, total, known, out = question.data, question.plan, Cost(), set(), []
    for method in methods:
        for part in parts_of(method):
            for number in range(part.count):
                if (part.name, number) not in known and (cost := question.choose(part.name).cost):
                    one = cost(data, dataclasses.replace(plan, method=part.name))
                    total += one if number == 0 else one.times(1)._replace(programs=0)
                known.add((part.name, number))
        total += judging(len(data.labels), data.num_classes)
        out.append(seconds(total))
    return out


def _ask(question: Question) -> Testimony:
    choice = chosen(question.data)
    spent = forecast(question, choice.methods)
    plan = ", then ".join(
        f"{method} (after about {in_words(s)})" for method, s in zip(choice.methods, spent, strict=True)
    )
    log.info("auto asks %s: %s", plan, choice.why)
    for method in choice.methods:
        said = question.consult(method)
        if question.early and method != choice.methods[-1]:
            question.early(said)
    return said


AUTO = Witness(_ask, (IMAGES, FEATURES), ("plain_epochs", *NETWORK))
