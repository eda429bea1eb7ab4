"""DD-Ranking scores, which separate the accuracy due to the images from that due to soft labels and augmentation."""

import dataclasses
import math
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddjax.distilled import DistilledSet, targets
from ddjax.evaluation.protocols import Protocol, named
from ddjax.evaluation.students import Scores, evaluate
from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.ranges import Count, Range, Seed, checked
from ddjax.training import predict
from ddjax.types import Audit, Model, Params, TestSet, TrainSet

Accuracy = Annotated[float, Range(0, 1, hint="a fraction is asked for; divide per cent by 100")]


class Ranking(NamedTuple):
    """The scores of DD-Ranking (arXiv:2505.13300). Accuracies are fractions.

    Attributes:
      hlr: hard-label recovery: the accuracy of the full (noisy) set minus that of the distilled images with hard
        labels. Below zero the distilled set is better.
      ior: improvement over random: the accuracy of the distilled set minus that of a random subset of equal size.
      lrs: label-robust score, hlr and ior on one scale from 0 to 1.
      ars: augmentation-robust score: ior with and without augmentation, on a scale from 0 to 1.
      accuracies: all accuracies by name.
      scores: of the distilled set with its own labels.
    """

    hlr: float
    ior: float
    lrs: float
    ars: float
    accuracies: dict[str, float]
    scores: Scores


def normalised(score: float) -> float:
    """Map [-1, 1] to [0, 1] by an exponential, as published."""
    return (math.exp(score) - math.exp(-1)) / (math.exp(1) - math.exp(-1))


def label_robust_score(ior: float, hlr: float) -> float:
    """LRS: half of `ior`, half of minus `hlr`."""
    return normalised(0.5 * ior - 0.5 * hlr)


def augmentation_robust_score(with_augmentation: float, without: float) -> float:
    """ARS from `ior` with and without augmentation."""
    return normalised(0.5 * with_augmentation + 0.5 * without)


def without_augmentation(protocol: Protocol) -> Protocol:
    """The protocol without its augmentation and without CutMix."""
    return dataclasses.replace(
        protocol, recipe=lambda m: dataclasses.replace(protocol.recipe(m), augment="none", cutmix=0.0)
    )


def hardened(distilled: DistilledSet) -> DistilledSet:
    """The same images with hard labels: the class of the largest target."""
    labels = jnp.argmax(targets(distilled), axis=1).astype(jnp.int32)
    return dataclasses.replace(distilled, labels=labels, label_kind="hard")


def labelled_by(expert: Model, params: Params, hard: DistilledSet, like: DistilledSet) -> DistilledSet:
    """The images of `hard`, labelled by an expert with the label kind of `like`; hard labels stay as they are."""
    if like.label_kind == "hard":
        return hard
    logits = predict(expert, params, hard.images)
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
    seed: Seed = 0,
    students: Count | None = None,
    model: Model | None = None,
    epochs: Count | None = None,
    flip: bool = True,
    options: RunOptions = DEFAULTS,
) -> Ranking:
    """Score a distilled set against a random subset of equal size and the full noisy set.

    Args:
      distilled: the set.
      random: random images of the given classes, as many as `distilled` stores, with labels of the same kind.
      full_accuracy: last-epoch test accuracy of a network trained on the full noisy set with hard labels.
      test, train, audit, seed, students, model, epochs, flip, options: as in `evaluate`.
      protocol: of all trainings.

    Returns:
      The scores.

    Raises:
      ValueError: as in `evaluate`, or the sets differ in size.
      Diverged: as in `evaluate`.

    Example:
      >>> import ddjax, jax
      >>> data = ddjax.prepare(ddjax.synthetic(2, 4, (4, 4, 1)), ddjax.NoiseSpec())
      >>> made, random = (
      ...     ddjax.run_method(name, data.train, jax.random.key(0), ipc=1).distilled for name in ("herding", "random")
      ... )
      >>> model = ddjax.build("mlp", (4, 4, 1), 2, width=4)
      >>> short = ddjax.evaluation.Protocol("short", lambda m: ddjax.Recipe(epochs=1, batch=2, rate=0.1), students=1)
      >>> found = ddjax.dd_ranking(made, random, 0.9, data.test, train=data.train, protocol=short, model=model)
      >>> sorted(found.accuracies)
      ['full', 'random', 'random_plain', 'synthetic', 'synthetic_hard', 'synthetic_plain']
    """
    if len(random.images) != len(distilled.images):
        raise ValueError(
            f"random holds {len(random.images)} images, distilled {len(distilled.images)}: equal sizes only"
        )
    protocol = named(protocol)
    bare = without_augmentation(protocol)
    shared = {"seed": seed, "students": students, "model": model, "train": train, "epochs": epochs, "flip": flip}

    def scored(name: str, data: DistilledSet, protocol: Protocol, audit: Audit | None = None) -> Scores:
        return evaluate(data, test, protocol=protocol, audit=audit, options=options.part(name), **shared)

    def accuracy(name: str, data: DistilledSet, protocol: Protocol) -> float:
        return float(np.mean(scored(name, data, protocol).last))

    scores = scored("synthetic", distilled, protocol, audit)
    accuracies = {
        "synthetic": float(np.mean(scores.last)),
        "synthetic_hard": accuracy("synthetic_hard", hardened(distilled), protocol),
        "random": accuracy("random", random, protocol),
        "synthetic_plain": accuracy("synthetic_plain", distilled, bare),
        "random_plain": accuracy("random_plain", random, bare),
        "full": full_accuracy,
    }
    hlr, ior = full_accuracy - accuracies["synthetic_hard"], accuracies["synthetic"] - accuracies["random"]
    ars = augmentation_robust_score(ior, accuracies["synthetic_plain"] - accuracies["random_plain"])
    return Ranking(hlr, ior, label_robust_score(ior, hlr), ars, accuracies, scores)
