"""The competitor of every distilled set: training on the whole noisy set, at its last, best and picked epoch."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddjax import checks
from ddjax.evaluation.protocols import dance_recipe, datm_recipe
from ddjax.execution.guard import Diverged, intact
from ddjax.preprocess import centered, one_hot
from ddjax.ranges import Count, PartialShare, Seed, checked
from ddjax.storage.checkpoints import Checkpoints
from ddjax.training import Examples, Recipe, Sharpness, fit
from ddjax.training.checking import diverged
from ddjax.training.fit import Report, for_each
from ddjax.types import PIXELS, Audit, Model, TestSet, TrainSet


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A recipe for the full set, with the network and the preprocessing it is meant for."""

    name: str
    recipe: Recipe
    space: str  # a name in preprocess.SPECS
    network: str = "convnet"


BASELINES: dict[str, Baseline] = {
    b.name: b
    for b in [
        Baseline(
            "B-DATM",
            Recipe(epochs=100, batch=256, rate=0.01, sharpness=Sharpness(0.01, 0.3, True), augment="dsa"),
            "datm",
        ),
        Baseline("B-DANCE", dataclasses.replace(dance_recipe(epochs=60), augment="dance_pretrain"), "dance"),
        Baseline(
            "B-RCIG*",
            Recipe(
                epochs=100,
                batch=256,
                rate=3e-4,
                optimiser="adam",
                schedule="warmup_cosine",
                loss="squared_error",
                augment="rcig",
            ),
            "rcig",
            "convnet_rcig",
        ),
        Baseline("B-EVAL", dataclasses.replace(datm_recipe(), epochs=1000), "datm"),
        Baseline("B-PLAIN", Recipe(epochs=200, batch=64, rate=0.01, momentum=0.9, weight_decay=5e-4), "standardize"),
    ]
}


class FullScores(NamedTuple):
    """One value for each seed. `last`, `best` and `picked` are moments of the same run on the whole set.

    `best` is chosen on test data and is a reference only. `picked` is the epoch at which a second run, on the set
    less a hold-out, agreed best with the given (noisy) labels of that hold-out.
    """

    at: dict[str, dict[str, list[float]]]  # moment -> {epoch, test_acc, given_acc, clean_acc (with an audit)}
    curves: dict[str, Any]  # name -> float [s epochs]
    params: Any
    model: Model  # what reads one run's params


# (rows of the set that are trained on, None for all) -> a function called like `fit`, which gives what `fit` does
Trainers = Callable[[np.ndarray | None], Callable[..., Any]]


def plainly(rows: np.ndarray | None) -> Callable[..., Any]:
    """Plain training, whatever the rows."""
    return fit


@checked
def train_full(
    baseline: Baseline,
    train: TrainSet,
    test: TestSet,
    *,
    model: Model,
    audit: Audit | None = None,
    seed: Seed = 0,
    students: Count = 1,
    holdout: PartialShare = 0.1,
    how: str = "auto",
    report: Report | None = None,
    checkpoints: Checkpoints | None = None,
) -> FullScores:
    """Train `students` networks on all of `train`, watching every epoch.

    Args:
      train, test: in the space of the baseline (the same for both).
      audit: the clean labels of `train`; adds the accuracy against them.
      holdout: share of the training set on whose given labels the `picked` epoch is chosen; 0 leaves that run out.
      checkpoints: where the trainings are kept meanwhile, and gone on with.
    """
    found = train_full_all(
        baseline,
        [train],
        test,
        model=model,
        audits=[audit],
        seeds=[seed],
        students=students,
        holdout=holdout,
        how=how,
        report=report,
        checkpoints=checkpoints,
    )
    return intact(found[0])


@checked
def train_full_all(
    baseline: Baseline,
    trains: list[TrainSet],
    test: TestSet,
    *,
    model: Model,
    audits: list[Audit | None],
    seeds: list[Seed],
    students: Count = 1,
    holdout: PartialShare = 0.1,
    how: str = "auto",
    report: Report | None = None,
    checkpoints: Checkpoints | None = None,
    trainers: Trainers = plainly,
) -> list[FullScores | Diverged]:
    """What `train_full` makes of each training set, all networks in one compiled program.

    The sets are of one size; those that share their images (as one array) hold them once. `audits` and `seeds` have an
    entry for each; either all are audited or none is. `trainers` stands in for plain training: a robust rule, say,
    that keeps a table with a row for each image. A set of which a network diverged has this error in place of scores,
    and the others keep theirs.
    """
    checks.test_set(test)
    for train, audit in zip(trains, audits, strict=True):
        checks.train_set(train)
        checks.audit(audit, train)
        checks.same_classes(train=train.num_classes, test=test.num_classes)
        if train.space != test.space or train.space == PIXELS:
            raise ValueError(
                f"train is in {train.space!r} and test in {test.space!r}: "
                f"put both through the preprocessing {baseline.space!r}"
            )
    examples = [Examples(t.images, make_targets(baseline, t.labels, t.num_classes)) for t in trains]
    labels = {"given_acc": for_each([jnp.asarray(t.labels) for t in trains], students)}
    known = [audit for audit in audits if audit is not None]
    if known:
        labels["clean_acc"] = for_each([jnp.asarray(audit.labels) for audit in known], students)
    images = for_each([t.images for t in trains], students)
    fitted = trainers(None)(
        model,
        baseline.recipe,
        for_each(examples, students),
        jnp.concatenate([jax.random.split(jax.random.key(seed), students) for seed in seeds]),
        watch={"test": (test.images, {"test_acc": test.labels}), "train": (images, labels)},
        every=1,
        how=how,
        report=report,
        checkpoints=checkpoints and checkpoints.part("all"),
    )
    errors = diverged(fitted.params, fitted.loss, "networks trained on everything", len(trains))
    held = {}
    if holdout and not all(errors):
        for seed in dict.fromkeys(seeds):  # one seed holds out the same rows of every set
            mine = [i for i, other in enumerate(seeds) if other == seed]
            agreement, lost = holdout_accuracy(
                baseline,
                [trains[i] for i in mine],
                [examples[i] for i in mine],
                students,
                model,
                holdout,
                seed,
                how,
                report,
                trainers,
                checkpoints and checkpoints.part(f"holdout-{seed}"),
            )
            held |= {i: agreement[j * students : (j + 1) * students] for j, i in enumerate(mine)}
            for i, error in zip(mine, lost, strict=True):
                errors[i] = errors[i] or error
    found: list[FullScores | Diverged] = []
    for i, error in enumerate(errors):
        if error:
            found.append(error)
            continue
        own = slice(i * students, (i + 1) * students)
        curves = {name: seen[own] for name, seen in (fitted.seen | {"loss": fitted.loss}).items()}
        moments = {"last": np.full(students, baseline.recipe.epochs - 1), "best": curves["test_acc"].argmax(axis=1)}
        if holdout:
            curves["holdout_acc"] = held[i]
            window = 1 + 2 * (baseline.recipe.epochs // 40)
            moments["picked"] = smoothed(held[i], window).argmax(axis=1)
        at = {
            moment: {"epoch": [int(e) + 1 for e in epochs]}
            | {name: [float(curves[name][s, e]) for s, e in enumerate(epochs)] for name in ("test_acc", *labels)}
            for moment, epochs in moments.items()
        }
        params = jax.tree.map(lambda leaf, own=own: leaf[own], fitted.params)
        found.append(FullScores(at, curves, params, fitted.model))
    return found


def holdout_accuracy(
    baseline: Baseline,
    trains: list[TrainSet],
    examples: list[Examples],
    students: int,
    model: Model,
    holdout: float,
    seed: int,
    how: str,
    report: Report | None,
    trainers: Trainers,
    checkpoints: Checkpoints | None,
) -> tuple[Float[np.ndarray, "s epochs"], list[Diverged | None]]:
    """Agreement with the given labels of a hold-out, epoch by epoch, of networks that did not train on it.

    For each set also the error, where one of its networks diverged.
    """
    rows = np.random.default_rng(seed).permutation(len(trains[0].labels))
    count = max(1, round(len(rows) * holdout))
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), students)
    held, kept = np.sort(rows[:count]), np.sort(rows[count:])

    def part(arrays: list[Any], rows: np.ndarray) -> Any:
        taken = {id(array): jnp.asarray(array)[rows] for array in arrays}  # what was shared stays shared
        return for_each([taken[id(array)] for array in arrays], students)

    images = [train.images for train in trains]
    scout = trainers(kept)(
        model,
        baseline.recipe,
        Examples(part(images, kept), part([each.targets for each in examples], kept)),
        jnp.concatenate([keys] * len(trains)),
        watch={"held": (part(images, held), {"holdout_acc": part([train.labels for train in trains], held)})},
        every=1,
        how=how,
        report=report,
        checkpoints=checkpoints,
    )
    lost = diverged(scout.params, scout.loss, "networks that scout with a hold-out", len(trains))
    return scout.seen["holdout_acc"], lost


def make_targets(baseline: Baseline, labels: Any, num_classes: int) -> jax.Array:
    """Targets of the baseline's loss: centred one-hot for a squared error, one-hot for cross-entropy."""
    encode = centered if baseline.recipe.loss == "squared_error" else one_hot
    return encode(jnp.asarray(labels), num_classes)


def smoothed(curve: Float[np.ndarray, "s epochs"], width: int) -> Float[np.ndarray, "s epochs"]:
    """Mean over a centred window, shorter at the ends: one lucky epoch of a small hold-out should not be picked."""
    size = curve.shape[1]
    windows = [slice(max(0, e - width // 2), min(size, e + width // 2 + 1)) for e in range(size)]
    return np.stack([curve[:, window].mean(axis=1) for window in windows], axis=1)
