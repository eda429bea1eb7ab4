"""Training on the whole set: plainly, by a robust rule, or on labels corrected by students of distilled images."""

import dataclasses
import time

import numpy as np

from ddjax.denoising.judging import judge
from ddjax.denoising.networks import Networks, predict_students
from ddjax.evaluation import FullScores
from ddjax.evaluation.detection import detection
from ddjax.execution.guard import Diverged, attempted, intact
from experiments.display.progress import View
from experiments.running.distilling import distill_cells
from experiments.running.rules import RATES, needs, trainer
from experiments.running.scoring import Part, score_full
from experiments.running.shared import Ready, Shared, make_ready

PRECISION = 0.8  # of the flags in a row; the labels are corrected by the most probable class


def train_on_all(cells: list[Ready], shared: Shared, view: View) -> list[tuple[FullScores, Part] | Diverged]:
    """Scores of cells of one method. Plain training is one program for all cells; other methods run one by one."""
    parsed = cells[0].parsed
    if parsed.relabel:
        return [attempted(_relabelled, cell, shared, view) for cell in cells]
    if parsed.rule:
        return [attempted(_by_rule, cell, shared, view) for cell in cells]
    return score_full(cells, shared, view)


def _by_rule(cell: Ready, shared: Shared, view: View) -> tuple[FullScores, Part]:
    start = time.monotonic()
    given = needs(cell, shared)
    before = time.monotonic() - start
    scores, part = intact(score_full([cell], shared, view, trainer(given))[0])
    # the row lists inputs that a practitioner would not know
    told = ["clean labels"] if cell.parsed.weights in ("oracle", "random_prune") else []
    told += ["transition matrix"] if cell.parsed.known else []
    chosen = {option.partition("=")[0] for option in cell.experiment.options}
    told += ["noise rate"] if RATES.get(cell.parsed.rule or "") in given.settings.keys() - chosen else []
    return scores, part | {"rule_settings": given.settings, "told": told, "prepare_s": round(before, 2)}


def _relabelled(cell: Ready, shared: Shared, view: View) -> tuple[FullScores, Part]:
    assert cell.parsed.relabel is not None
    experiment, start = cell.experiment, time.monotonic()
    inner = make_ready(dataclasses.replace(experiment, method=cell.parsed.relabel), shared)
    made = intact(distill_cells([inner], shared, view)[0])
    train, epochs = cell.prepared.train, experiment.epochs
    if epochs is not None:  # these are epochs of training on the whole set; those of students are scaled alike
        share = epochs / cell.baseline.recipe.epochs
        epochs = max(1, round(share * inner.protocol.recipe(len(made.distilled.images)).epochs))
    with view.task("students that correct the labels") as report:
        students = Networks(
            cell.network(inner.protocol.network),
            experiment.seed,
            inner.protocol.students,
            epochs,
            experiment.mirrored,
            lambda stage, *progress: report(*progress),
            shared.checkpoints([cell], "correcting"),
        )
        logits = predict_students(made.distilled, train, inner.protocol, students)
    given, clean = np.asarray(train.labels), np.asarray(cell.prepared.audit.labels)
    found = judge(logits, given, precision=PRECISION)
    corrected = found.truth.argmax(axis=1).astype(np.int32)
    before = time.monotonic() - start
    scores, part = intact(score_full([cell], shared, view, labels=corrected)[0])
    measured = detection(found.wrong, found.flagged, corrected, given, clean)
    return scores, part | {"relabelling": measured, **made.spent, "prepare_s": round(before, 2)}
