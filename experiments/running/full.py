"""Networks trained on all images: plainly, by a robust rule, or on labels that distilled images helped correct."""

import dataclasses
import time

import numpy as np

from ddjax.denoising.judging import judge
from ddjax.denoising.witnesses import predict_students
from ddjax.evaluation import FullScores
from ddjax.evaluation.detection import detection
from ddjax.execution.guard import Diverged, attempted, intact
from experiments.display.progress import View
from experiments.running.config import UPRIGHT
from experiments.running.distilling import distil_together
from experiments.running.rules import RATES, needs, trainer
from experiments.running.scoring import Part, full_together
from experiments.running.shared import Ready, Shared, full_recipe, inside, make_ready, network

PRECISION = 0.8  # of the flags that are written down; the labels are corrected by what is likeliest


def whole_together(cells: list[Ready], shared: Shared, view: View) -> list[tuple[FullScores, Part] | Diverged]:
    """Scores of cells of one method; plain training is one program for all, the others go one by one."""
    asked = cells[0].asked
    if asked.relabel:
        return [attempted(_relabelled, cell, shared, view) for cell in cells]
    if asked.rule:
        return [attempted(_by_rule, cell, shared, view) for cell in cells]
    return full_together(cells, shared, view)


def _by_rule(cell: Ready, shared: Shared, view: View) -> tuple[FullScores, Part]:
    start = time.monotonic()
    train = inside(cell, shared).train
    model = network(cell.experiment, cell.baseline.network, train.images.shape[1:], train.num_classes)
    given = needs(cell, full_recipe(cell), model, shared)
    before = time.monotonic() - start
    scores, part = intact(full_together([cell], shared, view, trainer(given))[0])
    # what a practitioner would not know is written beside what came of it
    told = ["clean labels"] if cell.asked.weights in ("oracle", "random_prune") else []
    told += ["transition matrix"] if cell.asked.known else []
    told += ["noise rate"] if RATES.get(cell.asked.rule or "") in given.settings else []
    return scores, part | {"rule_settings": given.settings, "told": told, "prepare_s": round(before, 2)}


def _relabelled(cell: Ready, shared: Shared, view: View) -> tuple[FullScores, Part]:
    assert cell.asked.relabel is not None
    experiment, start = cell.experiment, time.monotonic()
    inner = make_ready(dataclasses.replace(experiment, method=cell.asked.relabel), shared)
    made = intact(distil_together([inner], shared, view)[0])
    train, epochs = cell.prepared.train, experiment.epochs
    if epochs is not None:  # the wish is for the training on everything; students are cut by the same share
        share = epochs / cell.baseline.recipe.epochs
        epochs = max(1, round(share * inner.protocol.recipe(len(made.distilled.images)).epochs))
    with view.task("students that correct the labels") as report:
        logits = predict_students(
            made.distilled,
            train,
            model=network(experiment, inner.protocol.network, train.images.shape[1:], train.num_classes),
            protocol=inner.protocol,
            students=inner.protocol.students,
            epochs=epochs,
            mirror=experiment.dataset not in UPRIGHT,
            seed=experiment.seed,
            report=lambda stage, *progress: report(*progress),
            checkpoints=shared.keeping and shared.keeping.checkpoints([cell], "correcting"),
        )
    given, clean = np.asarray(train.labels), np.asarray(cell.prepared.audit.labels)
    found = judge(logits, given, precision=PRECISION)
    corrected = found.truth.argmax(axis=1).astype(np.int32)
    before = time.monotonic() - start
    scores, part = intact(full_together([cell], shared, view, labels=corrected)[0])
    measured = detection(found.wrong, found.flagged, corrected, given, clean)
    return scores, part | {"relabelling": measured, **made.spent, "prepare_s": round(before, 2)}
