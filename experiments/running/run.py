"""Run experiments, and make the row of results of each."""

import dataclasses
import time
from typing import Any, NamedTuple

import numpy as np

from ddjax.data import Dataset
from ddjax.distilled import DistilledSet
from ddjax.evaluation import FullScores, Scores
from ddjax.execution.guard import Diverged, attempted, intact
from ddjax.precision import default, policy
from ddjax.preprocess import placing
from ddjax.storage.rows import commit, fingerprint, hardware, versions
from experiments.display.board import name_of
from experiments.display.progress import View
from experiments.running.classes import by_class
from experiments.running.config import Experiment, drawn
from experiments.running.distilling import distill_cells, set_of
from experiments.running.full import train_on_all
from experiments.running.scoring import ranking, score_students
from experiments.running.shared import Ready, Shared, make_ready, pieces
from experiments.sweeping.operations import operations
from experiments.sweeping.work import Shape

MAY_DIFFER = ("noise", "rate", "seed", "noise_seed", "labels_file", "matrix_file")


class Outcome(NamedTuple):
    """A row, and the data of its figures."""

    row: dict[str, Any]
    dataset: Dataset
    noise: dict[str, Any]
    distilled: DistilledSet | None
    scores: Scores | FullScores
    log: dict[str, np.ndarray]  # metric of the distiller -> its value at each step


def run(
    experiment: Experiment | list[Experiment], *, shared: Shared | None = None, view: View | None = None
) -> Outcome | list[Outcome | Diverged]:
    """Run a cell, or several cells that differ only in labels and seeds.

    Several cells train all networks of a kind in one compiled program.

    Returns:
      The outcome; for a list, the outcome of each cell, or its error if it diverged.

    Raises:
      ValueError: the cells differ in other settings, or a setting is wrong.
      Diverged: a single cell diverged.
    """
    if experiment == []:
        return []
    cells = experiment if isinstance(experiment, list) else [experiment]
    shared, view = shared or Shared(), view or View(quiet=True)
    for cell in cells:
        pieces(cell)
    if len({alike(cell) for cell in cells}) > 1:
        raise ValueError(f"cells that run together may differ in {', '.join(MAY_DIFFER)} only; got {cells}")
    if view.board:
        more = f"-and-{len(cells) - 1}-more" if len(cells) > 1 else ""  # metrics are means over cells
        view.board.begin(name_of({**vars(cells[0]), "fingerprint": fingerprint(cells[0])}) + more)
    start = time.monotonic()
    with policy(cells[0].precision or default()), placing(shared.images):
        ready = [make_ready(cell, shared) for cell in cells]
        results = train_on_all(ready, shared, view) if ready[0].parsed.on_all else _score_sets(ready, shared, view)
    seconds = (time.monotonic() - start) / len(cells)
    outcomes = [
        result if isinstance(result, Diverged) else _outcome(cell, result, seconds)
        for cell, result in zip(ready, results, strict=True)
    ]
    if view.board:
        for outcome in outcomes:
            if not isinstance(outcome, Diverged):
                view.board.scores(outcome.row)
    return outcomes if isinstance(experiment, list) else intact(outcomes[0])


def _score_sets(ready: list[Ready], shared: Shared, view: View) -> list[Any]:
    """For each cell the scores of its distilled set, their columns, the set and its log; or its error."""
    results: list[Any] = list(distill_cells(ready, shared, view))
    left = [i for i, made in enumerate(results) if not isinstance(made, Diverged)]
    cells, sets = [ready[i] for i in left], [results[i].distilled for i in left]
    if ready[0].protocol.name == "dd-ranking":
        scored = [attempted(ranking, cell, made, shared, view) for cell, made in zip(cells, sets, strict=True)]
    else:
        scored = score_students(cells, sets, shared, view) if left else []
    for i, outcome in zip(left, scored, strict=True):
        made = results[i]
        if isinstance(outcome, Diverged):
            results[i] = outcome
        else:
            scores, part = outcome
            steps = ready[i].method.steps(ready[i].config)
            spent = {**made.spent, "distill_steps": steps, "set": set_of(ready[i])}
            results[i] = scores, part | spent, made.distilled, made.log
    return results


def _outcome(cell: Ready, result: tuple, seconds: float) -> Outcome:
    scores, part, *made = result
    distilled, log = made or (None, {})
    return Outcome(row_of(cell, part, seconds), cell.dataset, cell.prepared.noise, distilled, scores, log)


def alike(experiment: Experiment) -> Experiment:
    """The experiment without the settings that may differ in a fleet; equal ones can run together."""
    return experiment.without(MAY_DIFFER)


def counted(cell: Ready) -> dict[str, Any] | None:
    """Floating-point operations of the cell; None for a method without a formula."""
    train, test = cell.prepared.train, cell.prepared.test
    shape = Shape(len(train.labels), len(test.labels), tuple(train.images.shape[1:]), train.num_classes)
    found = operations(cell.experiment, shape)
    return None if found is None else found._asdict()


def seeds_of(cell: Ready) -> dict[str, int]:
    """The seed behind each source of randomness besides the run's own, for the report to tell what seeds share.

    Operations that augmentations draw for a whole batch come from one sequence for all runs: see `training.fit`.
    """
    experiment = cell.experiment
    found = {"augmentation": 0}
    if drawn(experiment.noise, experiment.rate):
        found["noise"] = experiment.noise_seed
    if (given := getattr(cell.config, "expert_seed", None)) is not None:
        found["experts"] = experiment.seed if given < 0 else given
    return found


def settings_of(cell: Ready) -> dict[str, Any]:
    """The columns of a row about its settings and the machine."""
    experiment, noise = cell.experiment, cell.prepared.noise
    return {
        "dataset": cell.dataset.name,
        "noise": experiment.noise,
        "rate": experiment.rate,
        "effective_rate": noise["used_effective_rate"],
        "noise_checksum": noise["checksum"],
        "method": experiment.method,
        "ipc": experiment.ipc if cell.parsed.sized else None,
        "seed": experiment.seed,
        "seeds": seeds_of(cell),
        "hardware": hardware(),
        "commit": commit(),
        "config": dataclasses.asdict(experiment),
        "versions": versions(),
    }


def row_of(cell: Ready, part: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The row of results of a cell."""
    given, clean = np.asarray(cell.prepared.train.labels), np.asarray(cell.prepared.audit.labels)
    return {
        **settings_of(cell),
        "protocol": cell.baseline.name if cell.parsed.on_all else cell.protocol.name,
        **part,
        **by_class(part["confusion"], given, clean, cell.dataset.class_names),
        "space": cell.transform.fingerprint,
        "operations": counted(cell),
        "train_images": len(given),
        "wall_s": round(seconds, 2),
        "fingerprint": fingerprint(cell.experiment),
    }
