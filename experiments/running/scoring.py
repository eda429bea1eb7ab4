"""Scores of cells that differ only in labels, rate or seed: of students, or of training on the whole set."""

import dataclasses
from typing import Any

import numpy as np

from ddjax.distilled import DistilledSet
from ddjax.evaluation import FullScores, Scores, dd_ranking, evaluate, labelled_by, train_full
from ddjax.evaluation.full import Trainers, plain_trainers
from ddjax.evaluation.measures import confusion, denoising
from ddjax.evaluation.predicted import mean_of, membership_auc, predict_all
from ddjax.execution.guard import Diverged, intact
from ddjax.execution.options import RunOptions
from ddjax.storage.checkpoints import Checkpoints
from ddjax.timing import Timer
from ddjax.trees import take
from experiments.display.progress import View
from experiments.running.config import method_config
from experiments.running.distilling import distill_cells
from experiments.running.methods import parse
from experiments.running.shared import Ready, Shared, full_recipe, preprocessed

Part = dict[str, Any]  # the columns of a row about a score


def score_full(
    cells: list[Ready], shared: Shared, view: View, trainers: Trainers = plain_trainers, labels: Any = None
) -> list[tuple[FullScores, Part] | Diverged]:
    """Train on the whole noisy set of each cell.

    Args:
      cells: of one method.
      shared: has the data.
      view: shows progress.
      trainers: replaces plain training, for a single cell.
      labels: replaces the given labels, for a single cell.

    Returns:
      For each cell its scores and columns, or its error if a network diverged.
    """
    first, experiment, timer = cells[0], cells[0].experiment, Timer()
    recipe = full_recipe(first)
    data = [preprocessed(cell, shared) for cell in cells]
    train, test = data[0].train, data[0].test
    trains = [part.train if labels is None else dataclasses.replace(part.train, labels=labels) for part in data]
    name = first.baseline.name if experiment.method == "full" else f"{experiment.method}, {first.baseline.name}"
    kept = shared.checkpoints(cells, "networks", corrected=labels is not None)
    with view.task(f"{name} on {len(train.labels)} images") as report:
        outcomes = train_full(
            dataclasses.replace(first.baseline, recipe=recipe),
            trains,
            test,
            model=first.network(first.baseline.network),
            audit=[part.audit for part in data],
            seed=[cell.experiment.seed for cell in cells],
            students=experiment.students or 1,
            holdout=experiment.holdout,
            trainers=trainers,
            options=RunOptions(report, kept),
        )
    networks = len(cells) * (experiment.students or 1) * (2 if experiment.holdout else 1)
    seconds = _seconds(timer, kept, networks)
    scored: list[tuple[FullScores, Part] | Diverged] = []
    for part, scores in zip(data, outcomes, strict=True):
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
    """Seconds of one network, in all and without compilation, with those of earlier processes."""
    carried = kept.carried if kept else 0.0
    return {
        "train_s": round((timer.seconds + carried) / networks, 2),
        "train_steady_s": round((timer.steady + carried) / networks, 3),
    }


def score_students(
    cells: list[Ready], sets: list[DistilledSet], shared: Shared, view: View
) -> list[tuple[Scores, Part] | Diverged]:
    """Score the distilled set of each cell with fresh students; a set with a diverged student has its error instead."""
    protocol, experiment, timer = cells[0].protocol, cells[0].experiment, Timer()
    kept = shared.checkpoints(cells, "students")
    with view.task(f"students, protocol {protocol.name}") as report:
        outcomes = evaluate(
            sets,
            cells[0].prepared.test,
            protocol=protocol,
            seed=[cell.experiment.seed for cell in cells],
            students=experiment.students,
            model=cells[0].network(protocol.network),
            train=[cell.prepared.train for cell in cells],
            audit=[cell.prepared.audit for cell in cells],
            epochs=experiment.epochs,
            flip=experiment.mirrored,
            options=RunOptions(report, kept),
        )
    trials = len(protocol.rates)
    networks = len(sets) * ((experiment.students or protocol.students) + trials)
    seconds = _seconds(timer, kept, networks)
    return [
        scores if isinstance(scores, Diverged) else (scores, columns(scores, distilled) | seconds)
        for scores, distilled in zip(outcomes, sets, strict=True)
    ]


def columns(scores: Scores, distilled: DistilledSet) -> Part:
    """The columns of a row about students."""
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
    """DD-Ranking: the set compared with a random set of equal size and with training on all noisy images."""
    experiment, prepared = cell.experiment, cell.prepared
    # training on the whole set does not depend on the method
    common = dataclasses.replace(experiment, method="full", ipc=10, steps=None, options=(), holdout=0.0)
    everything = cell._replace(experiment=common, parsed=parse("full"))
    key = (common, cell.transform.fingerprint)
    full, _ = shared.once("full", key, lambda: intact(score_full([everything], shared, view)[0]))
    expert = take(full.params, 0)
    parsed = parse("random")
    chance = dataclasses.replace(experiment, method="random", seed=(experiment.seed + 1) % 2**32, options=())
    other = cell._replace(experiment=chance, parsed=parsed, config=method_config(parsed.method.config, chance))
    random = intact(distill_cells([other], shared, view)[0]).distilled
    random = labelled_by(cell.network(cell.baseline.network), expert, random, distilled)
    result = dd_ranking(
        distilled,
        random,
        float(np.mean(full.at["last"]["test_acc"])),
        prepared.test,
        train=prepared.train,
        audit=prepared.audit,
        seed=experiment.seed,
        students=experiment.students,
        model=cell.network(cell.protocol.network),
        epochs=experiment.epochs,
        flip=experiment.mirrored,
        options=RunOptions(checkpoints=shared.checkpoints([cell], "ranking")),
    )
    scores = {name: getattr(result, name) for name in ("hlr", "ior", "lrs", "ars")}
    return result.scores, columns(result.scores, distilled) | scores | {"accuracies": result.accuracies}
