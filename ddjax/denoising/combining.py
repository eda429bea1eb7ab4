"""Predictors made of others: ensembles, cross-validation by a rule, and training on corrected labels.

A name is a sum of parts, `plain*3+ridge`. `*3` takes a predictor three times, with different seeds. `elr@folds` trains
by the rule in cross-validation. `plain@ridge` trains on the labels as `ridge` corrects them; `plain@(plain*3)` is
self-training after an ensemble.
"""

import dataclasses
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddjax.denoising.costs import Cost, judging
from ddjax.denoising.judging import judge
from ddjax.denoising.networks import log_predictions
from ddjax.denoising.predictor import FeatureSet, Plan, Predictions, Predictor, Request
from ddjax.denoising.proximity import IN_FEATURE_SPACE, given_features, left_out_logs
from ddjax.denoising.training import TRAINED, preprocessed, trained
from ddjax.types import TrainSet

_SUM = re.compile(r"\+(?![^()]*\))")  # a plus sign outside of parentheses
_PART = re.compile(r"(?P<name>[^*@+()]+(@([^*@+()]+|\([^()]+\)))?)(\*(?P<count>[1-9][0-9]*))?")
_SEEDS = 1000  # between the seeds of the members of an ensemble
_AFTER = 100  # between the seeds of a teacher and of what it teaches

Learner = Callable[[Request, Float[np.ndarray, "n k"]], Float[np.ndarray, "s n k"]]


class Part(NamedTuple):
    """A part of the name of an ensemble."""

    name: str  # with what follows its @
    count: int


def parts_of(name: str) -> list[Part]:
    """The parts of a name.

    Raises:
      ValueError: the name is not a sum of different parts.

    Example:
      >>> parts_of("plain@(plain*3)*2+ridge")
      [Part(name='plain@(plain*3)', count=2), Part(name='ridge', count=1)]
    """
    found = []
    for text in _SUM.split(name):
        match = _PART.fullmatch(text.strip())
        if not match:
            raise ValueError(
                f"method {name!r} must be a sum of NAME, NAME*COUNT, NAME@OTHER or NAME@(SUM); got the part {text!r}"
            )
        found.append(Part(match["name"].strip(), int(match["count"] or 1)))
    names = [part.name for part in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"method {name!r} has the part {twice[0]!r} twice, with the same seeds: write {twice[0]}*2")
    return found


def of_one_scale(members: Sequence[Float[np.ndarray, "_ n k"]]) -> Float[np.ndarray, "s n k"]:
    """All members, each with centred logits whose root mean square is one, so that none outvotes the others."""
    scaled = []
    for member in np.concatenate(members):
        centred = member - member.mean(axis=1, keepdims=True)
        scaled.append(centred / max(float(np.sqrt((centred**2).mean())), np.finfo(np.float32).tiny))
    return np.stack(scaled).astype(np.float32)


def ensemble(parts: Sequence[Part], predictors: Sequence[Predictor]) -> Predictor:
    """The predictor whose members are those of all parts, on one scale.

    It raises a ValueError for a part that is counted several times, and whose predictions do not depend on the seed:
    copies add nothing.
    """

    def predict(request: Request) -> Predictions:
        predicted: list[Predictions] = []
        for part in parts:
            several: list[Predictions] = []
            for number in range(part.count):
                several.append(request.predict(part.name, seed=(request.plan.seed + _SEEDS * number) % 2**32))
                if number == 1 and np.array_equal(several[0].members, several[1].members):
                    raise ValueError(
                        f"{part.name}*{part.count}: {part.name} predicts the same with every seed here; "
                        f"write {part.name}"
                    )
            predicted += several
        seconds: dict[str, float] = {}
        for one in predicted:
            for stage, spent in one.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
        return Predictions(of_one_scale([one.members for one in predicted]), seconds=seconds)

    def check(data: TrainSet | FeatureSet, plan: Plan, class_names: tuple[str, ...]) -> None:
        for part, predictor in zip(parts, predictors, strict=True):
            if predictor.check:
                predictor.check(data, dataclasses.replace(plan, method=part.name), class_names)

    def cost(data: TrainSet | FeatureSet, plan: Plan) -> Cost:
        total = Cost()
        for part, predictor in zip(parts, predictors, strict=True):
            if predictor.cost:
                total += predictor.cost(data, dataclasses.replace(plan, method=part.name)).times(part.count)
        return total

    takes = tuple(kind for kind in predictors[0].takes if all(kind in one.takes for one in predictors))
    decides = tuple(dict.fromkeys([*(name for one in predictors for name in one.decides), "seed"]))
    return Predictor(predict, takes, decides, check, cost=cost if all(one.cost for one in predictors) else None)


def _learn_plainly(request: Request, targets: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "s n k"]:
    train = preprocessed(request.data)
    fitted, _ = trained(request, train, jnp.asarray(targets))
    return log_predictions(fitted, train.images, request.plan.flip)


def _learn_by_ridge(request: Request, targets: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "s n k"]:
    return left_out_logs(given_features(request), targets, np.asarray(request.data.labels))[None]


# the predictors that also learn from soft labels
LEARNERS: Mapping[str, tuple[Predictor, Learner]] = {
    "plain": (TRAINED["plain"], _learn_plainly),
    "ridge": (IN_FEATURE_SPACE["ridge"], _learn_by_ridge),
}


def corrected(name: str, teacher: str, first: Predictor) -> Predictor:
    """The predictor `name@teacher`: it learns from the posterior of the true class that the predictor `first` gives."""
    base, learn = LEARNERS[name]

    def predict(request: Request) -> Predictions:
        labels = np.asarray(request.data.labels)
        predicted = request.predict(teacher)
        start = time.monotonic()
        truth = judge(predicted.members, labels).truth
        plan = dataclasses.replace(request.plan, method=name, seed=(request.plan.seed + _AFTER) % 2**32)
        members = learn(dataclasses.replace(request, plan=plan), truth)
        return Predictions(members, seconds={**predicted.seconds, "corrected": time.monotonic() - start})

    def check(data: TrainSet | FeatureSet, plan: Plan, class_names: tuple[str, ...]) -> None:
        if first.check:
            first.check(data, dataclasses.replace(plan, method=teacher), class_names)

    def cost(data: TrainSet | FeatureSet, plan: Plan) -> Cost:
        assert first.cost is not None and base.cost is not None
        taught = first.cost(data, dataclasses.replace(plan, method=teacher))
        return taught + judging(len(data.labels), data.num_classes) + base.cost(data, plan)

    takes = tuple(kind for kind in first.takes if kind in base.takes)
    decides = tuple(dict.fromkeys([*first.decides, *base.decides]))
    return Predictor(predict, takes, decides, check, cost=cost if first.cost else None)
