"""Witnesses made of others: ensembles, cross-validation by a rule, and rounds of self-training.

A name is a sum of parts, `plain*3+ridge`. `*3` asks a witness three times, with different seeds. `elr@folds` trains by
the rule in cross-validation. `plain@rounds` judges the labels, trains again on soft corrected labels, and so on.
"""

import dataclasses
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddjax.denoising.asking import FeatureSet, Plan, Question, Testimony, Witness
from ddjax.denoising.costs import Cost, judging
from ddjax.denoising.judging import judge
from ddjax.denoising.proximity import given_features, left_out_logs
from ddjax.denoising.training import log_predictions, preprocessed, trained
from ddjax.types import TrainSet

ROUNDS = 2  # of training on corrected labels, after the first training
_PART = re.compile(r"(?P<name>[^*@+]+)(@(?P<way>[a-z]+))?(\*(?P<count>[1-9][0-9]*))?")
_SEEDS = 1000  # between the seeds of the members of an ensemble; folds and rounds use those between

Learner = Callable[[Question, Float[np.ndarray, "n k"]], Float[np.ndarray, "s n k"]]


class Part(NamedTuple):
    """A part of the name of an ensemble."""

    name: str  # with its way
    count: int


def parts_of(name: str) -> list[Part]:
    """The parts of a name.

    Raises:
      ValueError: the name is not a sum of parts.

    Example:
      >>> parts_of("plain*3+ridge")
      [Part(name='plain', count=3), Part(name='ridge', count=1)]
    """
    found = []
    for text in name.split("+"):
        match = _PART.fullmatch(text.strip())
        if not match:
            raise ValueError(f"method {name!r} must be a sum of NAME, NAME*COUNT or NAME@WAY; got the part {text!r}")
        way = f"@{match['way']}" if match["way"] else ""
        found.append(Part(match["name"].strip() + way, int(match["count"] or 1)))
    return found


def of_one_scale(members: Sequence[Float[np.ndarray, "_ n k"]]) -> Float[np.ndarray, "s n k"]:
    """All members, each with centred logits whose root mean square is one, so that none outvotes the others."""
    scaled = []
    for member in np.concatenate(members):
        centred = member - member.mean(axis=1, keepdims=True)
        scaled.append(centred / max(float(np.sqrt((centred**2).mean())), np.finfo(np.float32).tiny))
    return np.stack(scaled).astype(np.float32)


def ensemble(parts: Sequence[Part], witnesses: Sequence[Witness]) -> Witness:
    """The witness that asks all parts and hands on what they say, on one scale."""

    def ask(question: Question) -> Testimony:
        said = [
            question.consult(part.name, seed=question.plan.seed + _SEEDS * number)
            for part in parts
            for number in range(part.count)
        ]
        seconds: dict[str, float] = {}
        for one in said:
            for stage, spent in one.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
        return Testimony(of_one_scale([one.predictions for one in said]), seconds=seconds)

    def check(data: TrainSet | FeatureSet, plan: Plan, class_names: tuple[str, ...]) -> None:
        for part, witness in zip(parts, witnesses, strict=True):
            if witness.check:
                witness.check(data, dataclasses.replace(plan, method=part.name), class_names)

    def cost(data: TrainSet | FeatureSet, plan: Plan) -> Cost:
        total = Cost()
        for part, witness in zip(parts, witnesses, strict=True):
            if witness.cost:
                total += witness.cost(data, dataclasses.replace(plan, method=part.name)).times(part.count)
        return total

    takes = tuple(kind for kind in witnesses[0].takes if all(kind in witness.takes for witness in witnesses))
    decides = tuple(dict.fromkeys([*(each for witness in witnesses for each in witness.decides), "seed"]))
    return Witness(ask, takes, decides, check, cost=cost if all(witness.cost for witness in witnesses) else None)


def _learn_plainly(question: Question, targets: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "s n k"]:
    train = preprocessed(question.data)
    fitted, _ = trained(question, train, jnp.asarray(targets))
    return log_predictions(fitted, train.images, question.plan.flip)


def _learn_by_ridge(question: Question, targets: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "s n k"]:
    return left_out_logs(given_features(question), targets, np.asarray(question.data.labels))[None]


LEARNERS: Mapping[str, Learner] = {"plain": _learn_plainly, "ridge": _learn_by_ridge}


def in_rounds(name: str, witness: Witness) -> Witness:
    """Self-training: the labels are judged, replaced by their posterior, learned and judged again."""
    learn = LEARNERS[name]

    def ask(question: Question) -> Testimony:
        start, labels = time.monotonic(), np.asarray(question.data.labels)
        members = question.consult(name).predictions
        for number in range(1, ROUNDS + 1):
            truth = judge(members, labels).truth
            plan = dataclasses.replace(question.plan, method=name, seed=question.plan.seed + number)
            decides = {**question.decides, "round": number}
            members = learn(dataclasses.replace(question, plan=plan, decides=decides), truth)
        return Testimony(members, seconds={"rounds": time.monotonic() - start})

    def cost(data: TrainSet | FeatureSet, plan: Plan) -> Cost:
        assert witness.cost is not None
        once = witness.cost(data, dataclasses.replace(plan, method=name))
        return once.times(1 + ROUNDS) + judging(len(data.labels), data.num_classes).times(ROUNDS)

    return witness._replace(ask=ask, cost=cost)
