"""Scores of a distilled set: fresh networks trained on it, tested on clean images."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddjax import checks, preprocess
from ddjax.distilled import DistilledSet, check
from ddjax.evaluation.measures import confusion
from ddjax.evaluation.predicted import Predicted, membership_auc, predict_all, training_set_view
from ddjax.evaluation.protocols import PROTOCOLS, Protocol, upright
from ddjax.evaluation.spaces import in_protocol_space, in_space, suited
from ddjax.execution.guard import Diverged, intact
from ddjax.models import build
from ddjax.names import choose
from ddjax.ranges import Count, Seed, checked
from ddjax.storage.checkpoints import Checkpoints
from ddjax.training import Examples, Recipe, fit
from ddjax.training.checking import diverged
from ddjax.training.fit import Report, for_each, within
from ddjax.types import Audit, Model, TestSet, TrainSet

HELD_OUT = 2000  # training images on which a rate is chosen, by their given labels


class Scores(NamedTuple):
    """What students reached. Accuracies are fractions; spreads are population deviations over students."""

    last: list[float]  # each student, after its last epoch: the headline is their mean
    best: list[float]  # each student, the best epoch watched: reference only, chosen on test data
    rate: float
    protocol: str
    steps: int  # gradient steps of each student
    confusion: Any  # int [k k], summed over students
    denoising: dict[str, float] | None  # mean over students, where an audit was handed in
    membership_auc: float | None  # mean over students, where training images were: see `measures.auc`


@checked
def evaluate(
    distilled: DistilledSet,
    test: TestSet,
    *,
    protocol: str | Protocol = "common",
    seed: Seed = 0,
    students: Count | None = None,
    model: Model | None = None,
    train: TrainSet | None = None,
    audit: Audit | None = None,
    epochs: Count | None = None,
    mirror: bool = True,
    how: str = "auto",
    report: Report | None = None,
    checkpoints: Checkpoints | None = None,
) -> Scores:
    """Train fresh students on `distilled` by a published protocol and test them.

    Args:
      distilled: any set, also one made elsewhere: images in some space, labels of some kind, and the `preprocess`
        that leads there from pixels.
      test: uint8 pixels, or images already in the space of the set; another space is refused.
      train: real training images (uint8 pixels, given labels). Protocols that choose their rate need them, and
        those that go back to pixels take mean and deviation from them.
      audit: clean labels of `train`; adds what the students make of the training set.
      model: another network than the protocol's, for cross-architecture tests.
      mirror: False leaves mirror images out of the augmentation, for digits and letters.
      epochs: a shorter or longer run than published, schedule scaled; say so beside the number.
      report: called with (epochs done, epochs, newest metrics); the epochs of a search for the rate come first.
      checkpoints: where the trainings are kept meanwhile, and gone on with.
    """
    found = evaluate_all(
        [distilled],
        test,
        protocol=protocol,
        seeds=[seed],
        students=students,
        model=model,
        trains=[train],
        audits=[audit],
        epochs=epochs,
        mirror=mirror,
        how=how,
        report=report,
        checkpoints=checkpoints,
    )
    return intact(found[0])


@checked
def evaluate_all(
    sets: list[DistilledSet],
    test: TestSet,
    *,
    protocol: str | Protocol = "common",
    seeds: list[Seed],
    trains: list[TrainSet | None],
    audits: list[Audit | None],
    students: Count | None = None,
    model: Model | None = None,
    epochs: Count | None = None,
    mirror: bool = True,
    how: str = "auto",
    report: Report | None = None,
    checkpoints: Checkpoints | None = None,
) -> list[Scores | Diverged]:
    """What `evaluate` makes of each set, the students of all of them in one compiled program.

    The sets are of one size, kind of label and space; `seeds`, `trains` and `audits` have an entry for each. A set of
    which a student diverged has this error in place of scores, and the others keep theirs.
    """
    protocol = choose(PROTOCOLS, protocol, "protocol") if isinstance(protocol, str) else protocol
    _check_doors(sets, test, trains, audits)
    recipe = protocol.recipe(len(sets[0].images))
    recipe = recipe if mirror else upright(recipe)
    recipe = recipe if epochs is None else rescaled(recipe, epochs)
    model = model or build(protocol.network, test.images.shape[1:], test.num_classes)
    placed = [in_protocol_space(check(each), protocol, train) for each, train in zip(sets, trains, strict=True)]
    ready = [suited(recipe, plain) for _, plain in placed]
    transform, recipe = placed[0][0], ready[0][0]
    kinds = {(t.fingerprint, r, e.images.shape) for (t, _), (r, e) in zip(placed, ready, strict=True)}
    if len(kinds) > 1:
        raise ValueError(f"sets that are evaluated together have one size, label kind and space; got {kinds}")
    test_images = in_space(test, transform)
    count = students or protocol.students
    rates = [recipe.rate] * len(sets)
    if protocol.use_step_size:
        rates = [rate if s.step_size is None else float(s.step_size) for s, rate in zip(sets, rates, strict=True)]
    if len(protocol.rates) > 1:
        each = [e for _, e in ready]
        search = within(report, 0, 2 * recipe.epochs)
        rates = chosen_rates(model, recipe, each, protocol, trains, transform, seeds, how, search, checkpoints)
        report = within(report, recipe.epochs, 2 * recipe.epochs)
    looks: dict[str, Any] = {}
    if protocol.checks > 1:
        looks["watch"] = {"test": (test_images, {"test_acc": test.labels})}
        looks["every"] = max(1, recipe.epochs // protocol.checks)
    fitted = fit(
        model,
        recipe,
        for_each([examples for _, examples in ready], count),
        jnp.concatenate([jax.random.split(jax.random.key(seed), count) for seed in seeds]),
        rates=jnp.repeat(jnp.array(rates, jnp.float32), count, total_repeat_length=count * len(sets)),
        **looks,
        how=how,
        report=report,
        checkpoints=checkpoints and checkpoints.part("students"),
    )
    errors = diverged(fitted.params, fitted.loss, "students", len(sets))
    predictions = predict_all(model, fitted.params, test_images)
    last = np.array([np.mean(p.classes == np.asarray(test.labels)) for p in predictions])
    best = np.maximum(last, fitted.seen["test_acc"].max(axis=1)) if looks else last
    views: dict[int, list[Predicted]] = {}  # several cells share their training images
    found: list[Scores | Diverged] = []
    for i, (train, audit, rate) in enumerate(zip(trains, audits, rates, strict=True)):
        if error := errors[i]:
            found.append(error)
            continue
        own = slice(i * count, (i + 1) * count)
        if train is not None and id(train.images) not in views:
            views[id(train.images)] = predict_all(model, fitted.params, in_space(train, transform))
        seen = [] if train is None else views[id(train.images)][own]
        found.append(
            Scores(
                last[own].tolist(),
                best[own].tolist(),
                float(rate),
                protocol.name,
                recipe.epochs * recipe.steps_per_epoch(len(ready[i][1].images)),
                sum(confusion(p.classes, np.asarray(test.labels), test.num_classes) for p in predictions[own]),
                None if train is None or audit is None else training_set_view(seen, train, audit),
                membership_auc(seen, predictions[own]),
            )
        )
    return found


def _check_doors(sets: list[Any], test: Any, trains: list[Any], audits: list[Any]) -> None:
    checks.test_set(test)
    for distilled, train, audit in zip(sets, trains, audits, strict=True):
        checks.kind(distilled, DistilledSet, "distilled", "A distiller's extract makes one, and so does load_distilled")
        check(distilled)
        if train is not None:
            checks.train_set(train)
        checks.audit(audit, train)
        known = {"train": train.num_classes} if train is not None else {}
        checks.same_classes(distilled=distilled.num_classes, test=test.num_classes, **known)
        ours, theirs = list(distilled.images.shape[1:]), list(test.images.shape[1:])
        if ours != theirs:
            raise ValueError(
                f"distilled.images are {ours} and test.images {theirs}: resize the ones or the others, "
                "or take the test set that the distilled set was made for"
            )


def chosen_rates(
    model: Model,
    recipe: Recipe,
    examples: list[Examples],
    protocol: Protocol,
    trains: list[TrainSet | None],
    transform: preprocess.Preprocess,
    seeds: list[int],
    how: str,
    report: Report | None = None,
    checkpoints: Checkpoints | None = None,
) -> list[float]:
    """For each set the rate whose student agrees best with the given labels of held-out training images.

    No test data, no truth. A rate whose student diverges is not chosen. The names of the metrics in `report` begin
    with search_.
    """
    held, labels, keys = [], [], []
    for train, seed in zip(trains, seeds, strict=True):
        if train is None:
            raise ValueError(
                f"protocol {protocol.name!r} chooses its rate among {protocol.rates} on training images with given "
                "labels: pass train=, or a protocol with one rate"
            )
        rows = np.sort(np.random.default_rng(seed).permutation(len(train.labels))[:HELD_OUT])
        part = dataclasses.replace(train, images=train.images[rows], labels=train.labels[rows])
        held.append(in_space(part, transform))
        labels.append(jnp.asarray(part.labels))
        keys.append(jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), len(protocol.rates)))
    count = len(protocol.rates)
    watch = {"held_out": (for_each(held, count), {"agreement": for_each(labels, count)})}

    def told(done: int, total: int, metrics: dict[str, float]) -> None:
        report(done, total, {f"search_{name}": value for name, value in metrics.items()})

    rates = jnp.tile(jnp.array(protocol.rates, jnp.float32), len(seeds))
    fitted = fit(
        model,
        recipe,
        for_each(examples, count),
        jnp.concatenate(keys),
        rates=rates,
        watch=watch,
        how=how,
        report=told if report else None,
        checkpoints=checkpoints and checkpoints.part("rates"),
    )
    found = np.where(np.isfinite(fitted.loss[:, -1]), fitted.seen["agreement"][:, -1], -1.0)
    return [float(np.float32(protocol.rates[i])) for i in found.reshape(-1, count).argmax(axis=1)]


@checked
def rescaled(recipe: Recipe, epochs: Count) -> Recipe:
    """The recipe over another number of epochs, its drops and warm-up at the same fractions."""
    ratio = epochs / recipe.epochs
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        drop_epochs=tuple(int(e * ratio) for e in recipe.drop_epochs),
        warmup_steps=int(recipe.warmup_steps * ratio),
    )
