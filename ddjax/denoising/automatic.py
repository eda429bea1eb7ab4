"""The witness that `denoise` asks by default: the best that was measured for the size and kind of the input."""

import collections
import dataclasses
import logging
from typing import NamedTuple

from ddjax.denoising.asking import FEATURES, IMAGES, FeatureSet, Question, Testimony, Witness
from ddjax.denoising.combining import parts_of
from ddjax.denoising.costs import Cost, judging, seconds
from ddjax.denoising.patches import FEW
from ddjax.denoising.training import NETWORK
from ddjax.timing import in_time
from ddjax.types import TrainSet

log = logging.getLogger("ddjax.denoising")


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
            ("ridge", "ridge*3"),
            f"{n} images teach a network from scratch little, so typical patches are their features; "
            "features of a pretrained network, with features=, would find more",
        )
    return Choice(
        ("ridge", "plain*3+ridge"),
        f"{n} images teach networks, which err elsewhere than the ridge regression that is asked with them",
    )


def forecast(question: Question, methods: tuple[str, ...]) -> list[float] | None:
    """Predicted seconds until each method has answered and was judged, or None if one cannot be predicted.

    A method in turn reuses what the ones before it have asked.
    """
    data, plan, asked = question.data, question.plan, collections.Counter[str]()
    total, out = Cost(programs=1), []  # the program is the judge's
    for method in methods:
        for part in parts_of(method):
            cost = question.choose(part.name).cost
            if cost is None:
                return None
            if fresh := max(0, part.count - asked[part.name]):
                total += cost(data, dataclasses.replace(plan, method=part.name)).times(fresh)
                asked[part.name] += fresh
        total += judging(len(data.labels), data.num_classes)
        out.append(seconds(total))
    return out


def _ask(question: Question) -> Testimony:
    choice = chosen(question.data)
    spent = forecast(question, choice.methods)
    after = ["" if spent is None else f", about {in_time(spent[i])}" for i in range(len(choice.methods))]
    parts = [method + time for method, time in zip(choice.methods, after, strict=True)]
    log.info("auto asks %s: %s", "; then ".join(parts), choice.why)
    for method in choice.methods:
        said = question.consult(method)
        if question.early and method != choice.methods[-1]:
            question.early(said)
    return said


AUTO = Witness(_ask, (IMAGES, FEATURES), ("plain_epochs", *NETWORK))
