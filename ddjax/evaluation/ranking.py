"""DD-Ranking scores: how much of an accuracy is the images' own, apart from soft labels and augmentation."""

import dataclasses
import math
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddjax.distilled import DistilledSet, targets
from ddjax.evaluation.protocols import PROTOCOLS, Protocol
from ddjax.evaluation.students import Scores, evaluate
from ddjax.names import choose
from ddjax.ranges import Range, checked
from ddjax.storage.checkpoints import Checkpoints
from ddjax.types import Audit, Model, Params, TestSet, TrainSet

Accuracy = Annotated[float, Range(0, 1, hint="a fraction is asked for; divide per cent by 100")]


class Ranking(NamedTuple):
    """Accuracies as fractions.

    hlr: real full minus synthetic with hard labels; below zero the distilled set beats the full (noisy) set.
    ior: synthetic with its own labels minus a random subset of equal size.
    lrs, ars: both on one 0..1 scale; the second weighs training with and without augmentation.
    Source: DD-Ranking (arXiv:2505.13300); under label noise "real full" is the full noisy set.
    """

    hlr: float
    ior: float
    lrs: float
    ars: float
    accuracies: dict[str, float]
    scores: Scores  # of the distilled set with its own labels


def normalised(score: float) -> float:
    """[-1, 1] -> [0, 1], exponentially."""
    return (math.exp(score) - math.exp(-1)) / (math.exp(1) - math.exp(-1))


def label_robust_score(ior: float, hlr: float, weight: float = 0.5) -> float:
    """LRS: `weight` on the gain over random, the rest on the loss against real data."""
    return normalised(weight * ior - (1 - weight) * hlr)


def augmentation_robust_score(with_augmentation: float, without: float, weight: float = 0.5) -> float:
    """ARS from the gain over random under both regimes."""
    return normalised(weight * with_augmentation + (1 - weight) * without)


def hardened(distilled: DistilledSet) -> DistilledSet:
    """The same images with the largest target of each as a hard label."""
    labels = jnp.argmax(targets(distilled), axis=1).astype(jnp.int32)
    return dataclasses.replace(distilled, labels=labels, label_kind="hard")


def labelled_by(expert: Model, params: Params, hard: DistilledSet, like: DistilledSet) -> DistilledSet:
    """The images of `hard` with an expert's labels of the kind that `like` has; hard ones stay as they are."""
    if like.label_kind == "hard":
        return hard
    logits = expert.apply(params, hard.images)
    soft = {
        "logits": logits,
        "probabilities": jax.nn.softmax(logits),
        "regression": jax.nn.softmax(logits) - 1 / like.num_classes,
    }
    return dataclasses.replace(hard, labels=soft[like.label_kind], label_kind=like.label_kind)


@checked
def dd_ranking(
    distilled: DistilledSet,
    random: DistilledSet,
    full_accuracy: Accuracy,
    test: TestSet,
    *,
    train: TrainSet,
    audit: Audit | None = None,
    protocol: str | Protocol = "dd-ranking",
    checkpoints: Checkpoints | None = None,
    **options: Any,
) -> Ranking:
    """Score a distilled set against a random subset of equal size and the full noisy set.

    Args:
      random: random members of the given classes, as many as `distilled` stores, with labels of the same kind.
      full_accuracy: last-epoch test accuracy of a network trained on the full noisy set with hard labels.
      checkpoints: where the trainings are kept meanwhile, and gone on with.
      options: passed on to `evaluate` (seed, students, model, epochs, how).
    """
    if len(random.images) != len(distilled.images):
        raise ValueError(
            f"random holds {len(random.images)} images, distilled {len(distilled.images)}: equal sizes only"
        )
    protocol = choose(PROTOCOLS, protocol, "protocol") if isinstance(protocol, str) else protocol
    bare = dataclasses.replace(protocol, recipe=lambda m: dataclasses.replace(protocol.recipe(m), augment="none"))

    def scored(name: str, data: DistilledSet, how: Protocol, audit: Audit | None = None) -> Scores:
        kept = checkpoints and checkpoints.part(name)
        return evaluate(data, test, protocol=how, train=train, audit=audit, checkpoints=kept, **options)

    def accuracy(name: str, data: DistilledSet, how: Protocol) -> float:
        return float(np.mean(scored(name, data, how).last))

    scores = scored("synthetic", distilled, protocol, audit)
    found = {
        "synthetic": float(np.mean(scores.last)),
        "synthetic_hard": accuracy("synthetic_hard", hardened(distilled), protocol),
        "random": accuracy("random", random, protocol),
        "synthetic_plain": accuracy("synthetic_plain", distilled, bare),
        "random_plain": accuracy("random_plain", random, bare),
        "full": full_accuracy,
    }
    hlr, ior = full_accuracy - found["synthetic_hard"], found["synthetic"] - found["random"]
    ars = augmentation_robust_score(ior, found["synthetic_plain"] - found["random_plain"])
    return Ranking(hlr, ior, label_robust_score(ior, hlr), ars, found, scores)
