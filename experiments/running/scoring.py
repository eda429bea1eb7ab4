"""Scores of cells that differ only in labels, rate or seed: by fresh students, or trained on everything."""

import dataclasses
from typing import Any

import jax
import numpy as np

from ddjax.distilled import DistilledSet
from ddjax.evaluation import BASELINES, FullScores, Scores, dd_ranking, labelled_by
from ddjax.evaluation.baselines import Trainers, plainly, train_full_all
from ddjax.evaluation.measures import confusion, denoising
from ddjax.evaluation.predicted import membership_auc, predict_all
from ddjax.evaluation.students import evaluate_all
from ddjax.execution.guard import Diverged, intact
from ddjax.storage.checkpoints import Checkpoints
from ddjax.timing import Timer
from experiments.display.progress import View
from experiments.running.config import BASELINE_OF, UPRIGHT, method_config
from experiments.running.distilling import distil_together
from experiments.running.methods import read
from experiments.running.shared import Ready, Shared, full_recipe, inside, network

Part = dict[str, Any]  # the columns of a row that a score makes


def full_together(
    cells: list[Ready], shared: Shared, view: View, trainers: Trainers = plainly, labels: Any = None
) -> list[tuple[FullScores, Part] | Diverged]:
    """Train on the whole noisy sets; the headline is the last epoch, the honest competitor the hold-out's pick.

    A cell of which a network diverged has this error in place of scores.

    `trainers` stands in for plain training, and corrected `labels` for the given ones, of a cell that is alone.
    """
    first, experiment, timer = cells[0], cells[0].experiment, Timer()
    recipe = full_recipe(first)
    moved = [inside(cell, shared) for cell in cells]
    train, test = moved[0].train, moved[0].test
    model = network(experiment, first.baseline.network, train.images.shape[1:], train.num_classes)
    trains = [part.train if labels is None else dataclasses.replace(part.train, labels=labels) for part in moved]
    name = first.baseline.name if experiment.method == "full" else f"{experiment.method}, {first.baseline.name}"
    kept = shared.keeping and shared.keeping.checkpoints(cells, "networks", corrected=labels is not None)
    with view.task(f"{name} on {len(train.labels)} images") as report:
        found = train_full_all(
            dataclasses.replace(first.baseline, recipe=recipe),
            trains,
            test,
            model=model,
            audits=[part.audit for part in moved],
            seeds=[cell.experiment.seed for cell in cells],
            students=experiment.students or 1,
            holdout=experiment.holdout,
            report=report,
            trainers=trainers,
            checkpoints=kept,
        )
    networks = len(cells) * (experiment.students or 1) * (2 if experiment.holdout else 1)
    seconds = _seconds(timer, kept, networks)
    scored: list[tuple[FullScores, Part] | Diverged] = []
    for part, scores in zip(moved, found, strict=True):
        if isinstance(scores, Diverged):
            scored.append(scores)
            continue
        tested, repeated = (predict_all(scores.model, scores.params, images) for images in (test.images, train.images))
        given, clean = np.asarray(part.train.labels), np.asarray(part.audit.labels)
        last, best, picked = (scores.at.get(moment) for moment in ("last", "best", "picked"))
        row = {
            "last_acc": float(np.mean(last["test_acc"])),
            "best_acc": float(np.mean(best["test_acc"])),
            "picked_acc": float(np.mean(picked["test_acc"])) if picked else None,
            "last_std": float(np.std(last["test_acc"])),
            "students": last["test_acc"],
            "epochs": recipe.epochs,
            **seconds,
            "train_steps": recipe.epochs * recipe.steps_per_epoch(len(part.train.labels)),
            "confusion": sum(confusion(p.classes, np.asarray(test.labels), test.num_classes) for p in tested),
            "denoising": mean_of([denoising(p.classes, given, clean) for p in repeated]),
            "membership_auc": membership_auc(repeated, tested),
            "moments": scores.at,
        }
        scored.append((scores, row))
    return scored


def _seconds(timer: Timer, kept: Checkpoints | None, networks: int) -> dict[str, float]:
    """Seconds of one network, in all and without compiling; those of earlier processes included."""
    carried = kept.carried if kept else 0.0
    return {
        "train_s": round((timer.seconds + carried) / networks, 2),
        "train_steady_s": round((timer.steady + carried) / networks, 3),
    }


def mean_of(each: list[dict[str, float]]) -> dict[str, float]:
    """One mean for each name."""
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def students_together(
    cells: list[Ready], sets: list[DistilledSet], shared: Shared, view: View
) -> list[tuple[Scores, Part] | Diverged]:
    """Score distilled sets with fresh students; a set of which a student diverged has this error in place of scores."""
    protocol, experiment, timer = cells[0].protocol, cells[0].experiment, Timer()
    prepared = cells[0].prepared
    kept = shared.keeping and shared.keeping.checkpoints(cells, "students")
    with view.task(f"students, protocol {protocol.name}") as report:
        found = evaluate_all(
            sets,
            prepared.test,
            protocol=protocol,
            seeds=[cell.experiment.seed for cell in cells],
            students=experiment.students,
            model=network(experiment, protocol.network, prepared.train.images.shape[1:], prepared.train.num_classes),
            trains=[cell.prepared.train for cell in cells],
            audits=[cell.prepared.audit for cell in cells],
            epochs=experiment.epochs,
            mirror=experiment.dataset not in UPRIGHT,
            report=report,
            checkpoints=kept,
        )
    trials = len(protocol.rates) if len(protocol.rates) > 1 else 0
    networks = len(sets) * ((experiment.students or protocol.students) + trials)
    seconds = _seconds(timer, kept, networks)
    return [
        scores if isinstance(scores, Diverged) else (scores, columns(scores, each) | seconds)
        for scores, each in zip(found, sets, strict=True)
    ]


def columns(scores: Scores, distilled: DistilledSet) -> Part:
    """What a row says about students."""
    return {
        "last_acc": float(np.mean(scores.last)),
        "best_acc": float(np.mean(scores.best)),
        "last_std": float(np.std(scores.last)),
        "students": scores.last,
        "student_rate": scores.rate,
        "train_steps": scores.steps,
        "denoising": scores.denoising,
        "membership_auc": scores.membership_auc,
        "confusion": scores.confusion,
        "images": len(distilled.images),
    }


def ranking(cell: Ready, distilled: DistilledSet, shared: Shared, view: View) -> tuple[Scores, Part]:
    """DD-Ranking: the set against a random one of equal size and against all noisy images, one recipe for each."""
    experiment, prepared = cell.experiment, cell.prepared
    baseline = BASELINES[experiment.baseline or BASELINE_OF[cell.protocol.name]]
    # whatever the method, the full run is the same for all of a data set, its labels and a seed
    common = dataclasses.replace(experiment, method="full", ipc=10, steps=None, options=(), holdout=0.0)
    everything = cell._replace(experiment=common, asked=read("full"), baseline=baseline)
    key = (common, cell.transform.fingerprint)
    full, _ = shared.once("full", key, lambda: intact(full_together([everything], shared, view)[0]))
    shape, k = prepared.train.images.shape[1:], prepared.train.num_classes
    expert = jax.tree.map(lambda leaf: leaf[0], full.params)
    method = read("random").method
    chance = dataclasses.replace(experiment, method="random", seed=(experiment.seed + 1) % 2**32, options=())
    other = cell._replace(
        experiment=chance, asked=read("random"), method=method, config=method_config(method.config, chance)
    )
    random = intact(distil_together([other], shared, view)[0]).distilled
    random = labelled_by(network(experiment, baseline.network, shape, k), expert, random, distilled)
    found = dd_ranking(
        distilled,
        random,
        float(np.mean(full.at["last"]["test_acc"])),
        prepared.test,
        train=prepared.train,
        audit=prepared.audit,
        seed=experiment.seed,
        students=experiment.students,
        model=network(experiment, cell.protocol.network, shape, k),
        epochs=experiment.epochs,
        mirror=experiment.dataset not in UPRIGHT,
        checkpoints=shared.keeping and shared.keeping.checkpoints([cell], "ranking"),
    )
    scores = {name: getattr(found, name) for name in ("hlr", "ior", "lrs", "ars")}
    return found.scores, columns(found.scores, distilled) | scores | {"accuracies": found.accuracies}
