"""The default predictor of `denoise`: the best that was measured for the size and kind of the input."""

import collections
import dataclasses
import logging
from collections.abc import Mapping
from typing import NamedTuple

from ddjax.denoising import prototypes
from ddjax.denoising.combining import parts_of
from ddjax.denoising.costs import Cost, judging, seconds
from ddjax.denoising.patches import FEW
from ddjax.denoising.predictor import FEATURES, IMAGES, FeatureSet, Plan, Predictions, Predictor, Request
from ddjax.denoising.proximity import IN_FEATURE_SPACE
from ddjax.denoising.training import NETWORK
from ddjax.timing import in_time
from ddjax.types import TrainSet

log = logging.getLogger("ddjax.denoising")
# the choice that takes longest; what it reads of a plan includes what the others read
LARGEST_CHOICE: Mapping[str, str] = {IMAGES: "plain*3+ridge", FEATURES: "prototypes+ridge"}
LARGEST = 4096  # side of a matrix whose eigenvectors `ridge` computes in less than a minute


class Choice(NamedTuple):
    """The predictors that `auto` takes and why. The first one is quick, and the last one decides."""

    methods: tuple[str, ...]
    why: str


def chosen(data: TrainSet | FeatureSet) -> Choice:
    """The predictors for data of this kind and size."""
    n = len(data.labels)
    if isinstance(data, FeatureSet):
        if min(data.features.shape) > LARGEST:
            return Choice(("prototypes",), "features need no network")
        why = "features need no network, and ridge regression errs elsewhere than prototypes"
        return Choice(("prototypes", LARGEST_CHOICE[FEATURES]), why)
    if n < FEW:
        return Choice(
            ("ridge", "ridge*3"),
            f"{n} images teach a network from scratch little, so typical patches are their features; "
            "features of a pretrained network, with features=, would find more",
        )
    return Choice(
        ("ridge", LARGEST_CHOICE[IMAGES]),
        f"{n} images teach networks, which err elsewhere than the ridge regression that is used with them",
    )


def forecast(request: Request, methods: tuple[str, ...]) -> list[float] | None:
    """Predicted seconds until the predictions of each method are judged, or None if one cannot be predicted.

    A method reuses the predictions of the ones before it.
    """
    data, plan, counted = request.data, request.plan, collections.Counter[str]()
    total, out = Cost(programs=1), []  # the program is the judge's
    for method in methods:
        for part in parts_of(method):
            cost = request.choose(part.name).cost
            if cost is None:
                return None
            if fresh := max(0, part.count - counted[part.name]):
                total += cost(data, dataclasses.replace(plan, method=part.name)).times(fresh)
                counted[part.name] += fresh
        total += judging(len(data.labels), data.num_classes)
        out.append(seconds(total))
    return out


def _predict(request: Request) -> Predictions:
    choice = chosen(request.data)
    spent = forecast(request, choice.methods)
    after = ["" if spent is None else f", about {in_time(spent[i])}" for i in range(len(choice.methods))]
    parts = [method + time for method, time in zip(choice.methods, after, strict=True)]
    log.info("auto uses %s: %s", "; then ".join(parts), choice.why)
    for method in choice.methods:
        predicted = request.predict(method)
        if request.early and method != choice.methods[-1]:
            request.early(predicted)
    return predicted


def _check(data: TrainSet | FeatureSet, plan: Plan, class_names: tuple[str, ...]) -> None:
    first = prototypes.PREDICTOR if isinstance(data, FeatureSet) else IN_FEATURE_SPACE["ridge"]
    assert first.check is not None
    first.check(data, plan, class_names)


AUTO = Predictor(_predict, (IMAGES, FEATURES), ("ipc", "folds", "plain_epochs", *NETWORK), _check)
