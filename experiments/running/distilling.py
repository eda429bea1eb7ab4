"""Distilled sets of cells that differ only in labels, rate or seed."""

import dataclasses
import json
from typing import Any, NamedTuple

import jax

from ddjax.distilled import DistilledSet
from ddjax.execution.guard import Diverged, attempted, intact
from ddjax.execution.loop import Log
from ddjax.execution.options import RunOptions
from ddjax.run import Outcome, run_method
from ddjax.storage.rows import fingerprint
from experiments.display.progress import View
from experiments.running.checkpointing import unscored
from experiments.running.shared import Ready, Shared
from experiments.running.wrapping import about, cleaner, seen

KEPT = 64  # number of distilled sets kept in memory for other protocols; they are small


class Distillation(NamedTuple):
    """A distilled set of a cell, its log (empty for a stored set), and the columns of its cost (see `costs`)."""

    distilled: DistilledSet
    log: Log
    spent: dict[str, Any]


def distill_cells(cells: list[Ready], shared: Shared, view: View) -> list[Distillation | Diverged]:
    """Distil the set of each cell, in one program where that is possible.

    A set that was made before for another protocol, by this process or another one, is reused.

    Returns:
      For each cell its set, or its error if it diverged.
    """
    keys = [set_of(cell) for cell in cells]
    known = {key: shared.once("distilled", key, dict, keep=KEPT) for key in keys}
    for key, kept in known.items():
        if not kept and (stored := shared.sets(key)):
            kept["made"] = Distillation(*stored)
    missing = {key: cell for key, cell in zip(keys, cells, strict=True) if not known[key]}
    if missing:
        left = list(missing.values())
        if left[0].parsed.wrapper:  # cleaned sets differ in size
            made = [attempted(lambda cell=cell: intact(_distill([cell], shared, view)[0])) for cell in left]
        else:
            made = _distill(left, shared, view)
        for key, outcome in zip(missing, made, strict=True):
            known[key]["made"] = outcome
    return [known[key]["made"] for key in keys]


def set_of(cell: Ready) -> str:
    """The name of a distilled set: a fingerprint of everything that it depends on."""
    plain, own = unscored(cell.experiment), cell.method.model is not None
    network_of = None if own else cell.protocol.network
    return fingerprint([dataclasses.asdict(plain), cell.transform.fingerprint, network_of, *cleaner(cell)])


def _distill(cells: list[Ready], shared: Shared, view: View) -> list[Distillation | Diverged]:
    first, experiment = cells[0], cells[0].experiment
    trains = [seen(cell, shared) for cell in cells]
    own = first.method.model is not None
    network_of = None if own else [first.protocol.network, experiment.network]
    more = {"cleaner": cleaner(first)} if first.parsed.wrapper else {}
    with view.task(f"{experiment.method}, {experiment.ipc} images per class") as report:
        made = run_method(
            first.method,
            trains,
            [jax.random.key(cell.experiment.seed) for cell in cells],
            first.config,
            transform=first.transform,
            model=None if own else first.network(first.protocol.network),
            mesh=shared.mesh,
            options=RunOptions(report, shared.checkpoints(cells, "distil", network=network_of, **more)),
        )
    return [
        outcome
        if isinstance(outcome, Diverged)
        else Distillation(_complete(cell, outcome.distilled), outcome.log, costs(cell, outcome) | about(cell, shared))
        for cell, outcome in zip(cells, made, strict=True)
    ]


def costs(cell: Ready, outcome: Outcome) -> dict[str, Any]:
    """The cost of a distilled set, as columns of its row.

    distill_s: all seconds. distill_steady_s: seconds without compilation and without work that several runs share.
    shared_s: seconds of shared work, in full, by name. space_s: seconds of fitting the preprocessing. skipped: rejected
    updates.
    """
    return {
        "distill_s": round(outcome.seconds, 2),
        "distill_steady_s": round(outcome.steady, 2),
        "shared_s": {name: share.whole for name, share in outcome.shared.items()},
        "space_s": round(cell.space_s, 3),
        "skipped": outcome.skipped,
    }


def _complete(cell: Ready, distilled: DistilledSet) -> DistilledSet:
    """The set with its provenance."""
    provenance = {
        "experiment": dataclasses.asdict(cell.experiment),
        "noise": cell.prepared.noise,
        "space": cell.transform.fingerprint,
        "class_names": cell.dataset.class_names,
    }
    return dataclasses.replace(distilled, provenance=json.dumps(provenance, default=str))
