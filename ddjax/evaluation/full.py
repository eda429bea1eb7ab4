"""Training on the whole noisy set, scored at the last epoch, the best epoch and the epoch that a hold-out picks."""

from typing import Any, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddjax import checks
from ddjax.evaluation.baselines import Baseline, make_targets
from ddjax.evaluation.holdout import Trainers, holdout_accuracy, holdout_size, plain_trainers
from ddjax.evaluation.measures import smoothed
from ddjax.execution.fleet import per_member
from ddjax.execution.guard import Diverged, intact
from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.ranges import Count, PartialShare, Seed, checked
from ddjax.rows import Images
from ddjax.training import Examples
from ddjax.training.checking import diverged
from ddjax.training.fit import for_each
from ddjax.types import PIXELS, Audit, Model, TestSet, TrainSet


class FullScores(NamedTuple):
    """Scores of training on the whole set, one value per network.

    Attributes:
      at: moment -> {epoch, test_acc, given_acc, clean_acc (with an audit)}. The moments "last", "best" and "picked" are
        epochs of the same run. "best" is chosen on test data and is for reference only. "picked" is the epoch at which
        a second run, on the set without a hold-out, agreed best with the given (noisy) labels of that hold-out.
      curves: name -> float [s epochs].
      params: of the trained networks, leaves [s ...].
      model: reads the params of one network.
    """

    at: dict[str, dict[str, list[float]]]
    curves: dict[str, Any]
    params: Any
    model: Model


@overload
def train_full(
    baseline: Baseline,
    train: TrainSet,
    test: TestSet,
    *,
    model: Model,
    audit: Audit | None = None,
    seed: int = 0,
    students: int = 1,
    holdout: float = 0.1,
    trainers: Trainers = plain_trainers,
    options: RunOptions = DEFAULTS,
) -> FullScores: ...


@overload
def train_full(
    baseline: Baseline,
    train: list[TrainSet],
    test: TestSet,
    *,
    model: Model,
    audit: Audit | list[Audit] | None = None,
    seed: int | list[int] = 0,
    students: int = 1,
    holdout: float = 0.1,
    trainers: Trainers = plain_trainers,
    options: RunOptions = DEFAULTS,
) -> list[FullScores | Diverged]: ...


@checked
def train_full(
    baseline: Baseline,
    train: TrainSet | list[TrainSet],
    test: TestSet,
    *,
    model: Model,
    audit: Audit | list[Audit] | None = None,
    seed: Seed | list[Seed] = 0,
    students: Count = 1,
    holdout: PartialShare = 0.1,
    trainers: Trainers = plain_trainers,
    options: RunOptions = DEFAULTS,
) -> FullScores | list[FullScores | Diverged]:
    """Train `students` networks on all of `train`, and record their accuracies after every epoch.

    A list of training sets of one size trains all networks in one compiled program. Images that are the same array in
    several sets are stored once; images stored as bytes must be the same in all. A set with a diverged network has the
    error in place of scores.

    Args:
      baseline: the recipe.
      train: a training set in the space of the baseline, or a list of them.
      test: in the same space.
      model: the network.
      audit: the clean labels of `train`; adds the accuracy against them. One for all sets, or a list.
      seed: of initialisation, data order and augmentation. One for all sets, or a list.
      students: networks per set.
      holdout: share of the training set on whose given labels the `picked` epoch is chosen; 0 omits that run.
      trainers: replaces plain training, for example by a robust rule that stores a row per image.
      options: progress, checkpoints, and how networks run.

    Returns:
      The scores; for a list, the scores or the error of each set.

    Raises:
      ValueError: data are not consistent, not in one preprocessed space, or a number is out of range.
      Diverged: a network of a single set diverged.

    Example:
      >>> import ddjax
      >>> from ddjax import preprocess
      >>> data = ddjax.prepare(ddjax.synthetic(2, 4, (4, 4, 1)), ddjax.NoiseSpec())
      >>> data = ddjax.to_space(data, preprocess.fit("standardize", data.train.images))
      >>> baseline = ddjax.evaluation.Baseline("short", ddjax.Recipe(epochs=2, batch=4, rate=0.1), "standardize")
      >>> model = ddjax.build("mlp", (4, 4, 1), 2, width=4)
      >>> scores = ddjax.train_full(baseline, data.train, data.test, model=model, holdout=0.0)
      >>> scores.curves["test_acc"].shape
      (1, 2)
    """
    trains = train if isinstance(train, list) else [train]
    audits, seeds = per_member(audit, len(trains), "audit"), per_member(seed, len(trains), "seed")
    _check(baseline, trains, test, audits, holdout)
    examples = [Examples(t.images, make_targets(baseline, t.labels, t.num_classes)) for t in trains]
    known = [jnp.asarray(audit.labels) for audit in audits if audit is not None]
    labels = {"given_acc": for_each([jnp.asarray(t.labels) for t in trains], students)}
    labels |= {"clean_acc": for_each(known, students)} if known else {}
    images = for_each([t.images for t in trains], students)
    fitted = trainers(None)(
        model,
        baseline.recipe,
        for_each(examples, students),
        jnp.concatenate([jax.random.split(jax.random.key(seed), students) for seed in seeds]),
        watch={"test": (test.images, {"test_acc": test.labels}), "train": (images, labels)},
        every=1,
        options=options.part("all"),
    )
    errors = diverged(fitted.params, fitted.loss, "networks trained on the whole set", len(trains))
    agreements: dict[int, Float[np.ndarray, "s epochs"]] = {}
    if holdout and not all(errors):
        for seed in dict.fromkeys(seeds):  # sets of one seed hold out the same rows
            members = [i for i, other in enumerate(seeds) if other == seed]
            agreement, lost = holdout_accuracy(
                baseline,
                [trains[i] for i in members],
                [examples[i] for i in members],
                students=students,
                model=model,
                holdout=holdout,
                seed=seed,
                trainers=trainers,
                options=options.part(f"holdout-{seed}"),
            )
            agreements |= {i: agreement[j * students : (j + 1) * students] for j, i in enumerate(members)}
            for i, error in zip(members, lost, strict=True):
                errors[i] = errors[i] or error
    outcomes: list[FullScores | Diverged] = []
    for i, error in enumerate(errors):
        if error:
            outcomes.append(error)
            continue
        own = slice(i * students, (i + 1) * students)
        curves = {name: seen[own] for name, seen in (fitted.seen | {"loss": fitted.loss}).items()}
        if holdout:
            curves["holdout_acc"] = agreements[i]
        params = jax.tree.map(lambda leaf, own=own: leaf[own], fitted.params)
        at = _moments(curves, baseline.recipe.epochs, ("test_acc", *labels))
        outcomes.append(FullScores(at, curves, params, fitted.model))
    return outcomes if isinstance(train, list) else intact(outcomes[0])


def _check(
    baseline: Baseline, trains: list[TrainSet], test: TestSet, audits: list[Audit | None], holdout: float
) -> None:
    checks.kind(baseline, Baseline, "baseline", "ddjax.BASELINES has the published ones by name")
    if not trains:
        raise ValueError("train is an empty list: pass a training set, or a list of them")
    if len({audit is None for audit in audits}) > 1:
        raise ValueError("audit has an entry that is None: pass the clean labels of every training set, or of none")
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
    shapes = [tuple(train.images.shape) for train in trains]
    if len(set(shapes)) > 1:
        raise ValueError(f"training sets that are trained together have images of one shape; got {shapes}")
    first, *others = (train.images for train in trains)
    if isinstance(first, Images) and any(images is not first for images in others):
        raise ValueError(
            "training sets that are trained together share images that are stored as bytes: move one set by "
            "ddjax.to_space, and make the others by dataclasses.replace(it, labels=...); or store floats, images=None"
        )
    if holdout and holdout_size(n := shapes[0][0], holdout) == n:
        raise ValueError(f"holdout={holdout} of {n} images leaves none to train on; 0 omits the hold-out")


def _moments(curves: dict[str, Any], epochs: int, names: tuple[str, ...]) -> dict[str, dict[str, list]]:
    """The epoch (from 1) and the accuracies of each network at each moment."""
    students = len(curves["test_acc"])
    moments = {"last": np.full(students, epochs - 1), "best": curves["test_acc"].argmax(axis=1)}
    if "holdout_acc" in curves:
        moments["picked"] = smoothed(curves["holdout_acc"], 1 + 2 * (epochs // 40)).argmax(axis=1)
    return {
        moment: {"epoch": [int(e) + 1 for e in at]}
        | {name: [float(curves[name][s, e]) for s, e in enumerate(at)] for name in names}
        for moment, at in moments.items()
    }
