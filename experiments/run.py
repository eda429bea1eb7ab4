"""From an experiment to its row: choose the pieces, run them, write down what came out."""

import dataclasses
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from ddjax.data import Dataset
from ddjax.distilled import DistilledSet
from ddjax.evaluation import FullScores, Scores
from ddjax.names import unknown
from ddjax.results import commit, fingerprint, hardware, versions
from experiments.classes import by_class
from experiments.config import PRECISIONS, Experiment
from experiments.distilling import Distillation, distil_together
from experiments.scoring import full_together, ranking, students_together
from experiments.shared import Ready, Shared, make_ready

MAY_DIFFER = ("noise", "rate", "seed", "noise_seed", "labels_file", "matrix_file")


class Outcome(NamedTuple):
    """A row, and what its figures are drawn from."""

    row: dict[str, Any]
    dataset: Dataset
    noise: dict[str, Any]
    distilled: DistilledSet | None
    scores: Scores | FullScores
    log: dict[str, np.ndarray]  # a distiller's metrics, one entry per step


def run(experiment: Experiment, *, shared: Shared | None = None, quiet: bool = False) -> Outcome:
    """Run one cell."""
    return run_together([experiment], shared=shared, quiet=quiet)[0]


def run_together(cells: list[Experiment], *, shared: Shared | None = None, quiet: bool = False) -> list[Outcome]:
    """Run cells that differ in nothing but their labels and seeds, all networks of a kind in one compiled program.

    `shared` keeps what cells have in common for the next call.
    """
    shared = shared or Shared()
    if cells[0].precision not in PRECISIONS:
        raise unknown("precision", cells[0].precision, PRECISIONS)
    if len({alike(cell) for cell in cells}) > 1:
        raise ValueError(f"cells that run together may differ in {', '.join(MAY_DIFFER)} only; got {cells}")
    start = time.monotonic()
    with jax.default_matmul_precision(cells[0].precision):
        ready = [make_ready(cell, shared) for cell in cells]
        if cells[0].method == "full":
            found = [(*scored, None, {}) for scored in full_together(ready, shared, quiet)]
        else:
            made = distil_together(ready, shared, quiet)
            sets = [each.distilled for each in made]
            if ready[0].protocol.name == "dd-ranking":
                scored = [ranking(cell, each, shared, quiet) for cell, each in zip(ready, sets, strict=True)]
            else:
                scored = students_together(ready, sets, quiet)
            found = [
                (scores, part | spent(ready[0], each), each.distilled, each.log)
                for (scores, part), each in zip(scored, made, strict=True)
            ]
    seconds = (time.monotonic() - start) / len(cells)
    return [
        Outcome(row_of(cell, part, seconds), cell.dataset, cell.prepared.noise, distilled, scores, log)
        for cell, (scores, part, distilled, log) in zip(ready, found, strict=True)
    ]


def spent(cell: Ready, made: Distillation) -> dict[str, Any]:
    """What a distilled set cost."""
    return {"distill_s": round(made.seconds, 2), "distill_steps": cell.method.steps(cell.config)}


def alike(experiment: Experiment) -> Experiment:
    """The experiment without what may differ in a fleet: equal ones can run together."""
    return dataclasses.replace(
        experiment, **{f.name: f.default for f in dataclasses.fields(Experiment) if f.name in MAY_DIFFER}
    )


def row_of(cell: Ready, part: dict[str, Any], seconds: float) -> dict[str, Any]:
    """All that is written down about a cell."""
    experiment, prepared = cell.experiment, cell.prepared
    full = experiment.method == "full"
    given, clean = np.asarray(prepared.train.labels), np.asarray(prepared.audit.labels)
    return {
        "dataset": cell.dataset.name,
        "noise": experiment.noise,
        "rate": experiment.rate,
        "effective_rate": prepared.noise["used_effective_rate"],
        "noise_checksum": prepared.noise["checksum"],
        "method": experiment.method,
        "ipc": None if full else experiment.ipc,
        "seed": experiment.seed,
        "protocol": cell.baseline.name if full else cell.protocol.name,
        **part,
        **by_class(part["confusion"], given, clean, cell.dataset.class_names),
        "space": cell.transform.fingerprint,
        "train_images": len(given),
        "wall_s": round(seconds, 2),
        "hardware": hardware(),
        "commit": commit(),
        "config": dataclasses.asdict(experiment),
        "fingerprint": fingerprint(experiment),
        "versions": versions(),
    }
