"""Scores of a distilled set: fresh networks are trained on it and tested on clean images."""

from typing import Any, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np

from ddjax import checks
from ddjax.data import to_space
from ddjax.data.prepare import check_space
from ddjax.distilled import DistilledSet, check
from ddjax.evaluation.measures import confusion
from ddjax.evaluation.predicted import Predicted, membership_auc, predict_all, training_set_view
from ddjax.evaluation.protocols import Protocol, adapted, named
from ddjax.evaluation.rates import base_rate, chosen_rates
from ddjax.evaluation.spaces import in_protocol_space, suited
from ddjax.execution.fleet import per_member
from ddjax.execution.guard import Diverged, intact
from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.models import build
from ddjax.ranges import Count, Seed, checked
from ddjax.training import fit
from ddjax.training.checking import diverged
from ddjax.training.fit import for_each
from ddjax.types import Audit, Model, TestSet, TrainSet


class Scores(NamedTuple):
    """Scores of the students of a distilled set. Accuracies are fractions.

    Attributes:
      last: accuracy of each student after its last epoch. Their mean is the headline.
      best: accuracy of each student at its best recorded epoch; chosen on test data, so for reference only.
      rate: the base rate.
      protocol: its name.
      steps: gradient steps of each student.
      confusion: int [k k], summed over students.
      denoising: means over students, if an audit was given; see `measures.denoising`.
      membership_auc: mean over students, if training images were given; see `predicted.membership_auc`.
    """

    last: list[float]
    best: list[float]
    rate: float
    protocol: str
    steps: int
    confusion: Any
    denoising: dict[str, float] | None
    membership_auc: float | None


@overload
def evaluate(
    distilled: DistilledSet,
    test: TestSet,
    *,
    protocol: str | Protocol = "common",
    seed: int = 0,
    students: int | None = None,
    model: Model | None = None,
    train: TrainSet | None = None,
    audit: Audit | None = None,
    epochs: int | None = None,
    flip: bool = True,
    options: RunOptions = DEFAULTS,
) -> Scores: ...


@overload
def evaluate(
    distilled: list[DistilledSet],
    test: TestSet,
    *,
    protocol: str | Protocol = "common",
    seed: int | list[int] = 0,
    students: int | None = None,
    model: Model | None = None,
    train: TrainSet | list[TrainSet] | None = None,
    audit: Audit | list[Audit] | None = None,
    epochs: int | None = None,
    flip: bool = True,
    options: RunOptions = DEFAULTS,
) -> list[Scores | Diverged]: ...


@checked
def evaluate(
    distilled: DistilledSet | list[DistilledSet],
    test: TestSet,
    *,
    protocol: str | Protocol = "common",
    seed: Seed | list[Seed] = 0,
    students: Count | None = None,
    model: Model | None = None,
    train: TrainSet | list[TrainSet] | None = None,
    audit: Audit | list[Audit] | None = None,
    epochs: Count | None = None,
    flip: bool = True,
    options: RunOptions = DEFAULTS,
) -> Scores | list[Scores | Diverged]:
    """Train fresh students on a distilled set by a published protocol, and test them.

    A list of sets of one size, label kind and space trains all students in one compiled program. A set with a diverged
    student has the error in place of scores.

    Args:
      distilled: a set, or a list of them. A set made elsewhere needs images in some space, labels of some kind, and the
        `preprocess` that leads from pixels to that space.
      test: uint8 pixels, or images in the space of the set.
      protocol: a name in PROTOCOLS, "module:PROTOCOL", or a Protocol.
      seed: of initialisation, data order and augmentation. One for all sets, or a list.
      students: number of students per set; by default the protocol's.
      model: replaces the protocol's network, for cross-architecture tests.
      train: real training images (uint8 pixels, given labels). Protocols that choose their rate or standardise by the
        training images need them. One for all sets, or a list.
      audit: clean labels of `train`; adds the denoising measures. One for all sets, or a list.
      epochs: replaces the published number of epochs; the schedule is scaled. Report it beside the score.
      flip: False removes horizontal flips from the augmentation, for digits and letters.
      options: progress, checkpoints, and how students run. A search for the rate is the first half of the progress.

    Returns:
      The scores; for a list, the scores or the error of each set.

    Raises:
      ValueError: data do not match, a name is unknown, or a number is out of range.
      Diverged: a student of a single set diverged.

    Example:
      >>> import ddjax
      >>> data = ddjax.prepare(ddjax.synthetic(2, 4, (4, 4, 1)), ddjax.NoiseSpec())
      >>> outcome = ddjax.run_method("random", data.train, jax.random.key(0), ipc=1)
      >>> model = ddjax.build("mlp", (4, 4, 1), 2, width=4)
      >>> ddjax.evaluate(outcome.distilled, data.test, protocol="dance", model=model, epochs=2, students=1).steps
      2
    """
    protocol = named(protocol)
    sets = distilled if isinstance(distilled, list) else [distilled]
    seeds, trains, audits = (
        per_member(value, len(sets), name) for name, value in (("seed", seed), ("train", train), ("audit", audit))
    )
    _check(sets, test, trains, audits)
    recipe = adapted(protocol.recipe(len(sets[0].images)), flip=flip, epochs=epochs)
    model = model or build(protocol.network, test.images.shape[1:], test.num_classes)
    placed = [in_protocol_space(one, protocol, train) for one, train in zip(sets, trains, strict=True)]
    ready = [suited(recipe, plain) for _, plain in placed]
    transform, recipe = placed[0][0], ready[0][0]
    kinds = {(t.fingerprint, r, e.images.shape) for (t, _), (r, e) in zip(placed, ready, strict=True)}
    if len(kinds) > 1:
        raise ValueError(f"sets that are evaluated together have one size, label kind and space; got {kinds}")
    examples, count = [example for _, example in ready], students or protocol.students
    test_images = to_space(test, transform).images
    for one in trains:
        if one is not None:
            check_space(one, transform)  # now, because they are only predicted after the training
    own_rates = [base_rate(protocol, recipe, one) for one in sets]
    unusable = [rate if isinstance(rate, Diverged) else None for rate in own_rates]
    if all(unusable):
        return unusable if isinstance(distilled, list) else intact(unusable[0])
    rates = [recipe.rate if isinstance(rate, Diverged) else rate for rate in own_rates]
    if protocol.rates:
        search = options.within(0, 2 * recipe.epochs)
        rates = chosen_rates(model, recipe, examples, protocol, trains, transform, seeds, search)
        options = options.within(recipe.epochs, 2 * recipe.epochs)
    watching: dict[str, Any] = {}
    every = max(1, recipe.epochs // protocol.checks)
    if every < recipe.epochs:  # the last epoch is predicted below
        watching = {"watch": {"test": (test_images, {"test_acc": test.labels})}, "every": every, "final": False}
    fitted = fit(
        model,
        recipe,
        for_each(examples, count),
        jnp.concatenate([jax.random.split(jax.random.key(seed), count) for seed in seeds]),
        rates=jnp.repeat(jnp.array(rates, jnp.float32), count, total_repeat_length=count * len(sets)),
        **watching,
        options=options.part("students"),
    )
    found = diverged(fitted.params, fitted.loss, "students", len(sets))
    errors = [before or after for before, after in zip(unusable, found, strict=True)]
    predictions = predict_all(model, fitted.params, test_images)
    last = np.array([np.mean(p.classes == np.asarray(test.labels)) for p in predictions])
    best = np.maximum(last, fitted.seen["test_acc"].max(axis=1)) if watching else last
    views: dict[int, list[Predicted]] = {}  # by the id of the training images, which several sets may share
    outcomes: list[Scores | Diverged] = []
    for i, (train, audit, rate) in enumerate(zip(trains, audits, rates, strict=True)):
        if error := errors[i]:
            outcomes.append(error)
            continue
        own = slice(i * count, (i + 1) * count)
        if train is not None and id(train.images) not in views:
            views[id(train.images)] = predict_all(model, fitted.params, to_space(train, transform, "auto").images)
        seen = [] if train is None else views[id(train.images)][own]
        outcomes.append(
            Scores(
                last[own].tolist(),
                best[own].tolist(),
                float(rate),
                protocol.name,
                recipe.epochs * recipe.steps_per_epoch(len(examples[i].images)),
                sum(confusion(p.classes, np.asarray(test.labels), test.num_classes) for p in predictions[own]),
                None if train is None or audit is None else training_set_view(seen, train, audit),
                membership_auc(seen, predictions[own]),
            )
        )
    return outcomes if isinstance(distilled, list) else intact(outcomes[0])


def _check(sets: list[Any], test: Any, trains: list[Any], audits: list[Any]) -> None:
    if not sets:
        raise ValueError("distilled is an empty list: pass a set, or a list of them")
    checks.test_set(test)
    for distilled, train, audit in zip(sets, trains, audits, strict=True):
        checks.kind(distilled, DistilledSet, "distilled", "A distiller's extract makes one, and so does load_distilled")
        check(distilled)
        if train is not None:
            checks.train_set(train)
        checks.audit(audit, train)
        known = {"train": train.num_classes} if train is not None else {}
        checks.same_classes(distilled=distilled.num_classes, test=test.num_classes, **known)
        for name, part in {"distilled": distilled, "train": train or test}.items():
            ours, theirs = list(part.images.shape[1:]), list(test.images.shape[1:])
            if ours != theirs:
                raise ValueError(
                    f"{name}.images are {ours} and test.images {theirs}: resize one of them, "
                    "or use the test set that the distilled set was made for"
                )
