"""Run the missing cells of a directory."""

import math
import sys
import time
from collections.abc import Callable

from ddjax.execution.guard import Diverged
from ddjax.storage.rows import commit, fingerprint, hardware, versions
from experiments.display.progress import View
from experiments.running.checkpointing import unscored
from experiments.running.config import Experiment
from experiments.running.methods import parse
from experiments.running.run import Outcome, alike, run
from experiments.running.shared import Shared
from experiments.sweeping.cost import members_that_fit
from experiments.sweeping.machines import device_memory
from experiments.sweeping.store import Store, named


def groups(cells: list[Experiment], fleet: bool, room: float = math.inf) -> list[list[Experiment]]:
    """Groups of cells of one round that run as one program, in the order of their first cells.

    If `fleet`, cells that differ only in labels and seeds are a group, else each cell is one. A fleet that needs more
    than `room` bytes is split into parts of about the same size.
    """
    if not fleet:
        return [[cell] for cell in cells]
    found: list[list[Experiment]] = []
    kinds: dict[Experiment, list[Experiment]] = {}
    for cell in cells:
        kinds.setdefault(alike(cell), []).append(cell)
    for group in kinds.values():
        most = len(group) if room == math.inf else members_that_fit(group[0], room)
        parts = -(-len(group) // most)
        found += [group[i * len(group) // parts : (i + 1) * len(group) // parts] for i in range(parts)]
    return found


def bundles(parts: list[list[Experiment]]) -> list[list[list[Experiment]]]:
    """Join groups that score the same distilled sets by different protocols, so that one process distils them once."""
    found: dict[tuple, list[list[Experiment]]] = {}
    for group in parts:
        on_all = parse(group[0].method).on_all
        found.setdefault(tuple(group if on_all else map(unscored, group)), []).append(group)
    return list(found.values())


def run_missing(
    rounds: list[list[Experiment]], store: Store, fleet: bool, view: View, landed: Callable[[], None]
) -> list[Experiment]:
    """Run the missing cells, round by round; returns those that failed. They get a row, and the others continue.

    `landed` is called after each group.
    """
    shared, failed = store.shared(), []
    room = device_memory() if fleet else math.inf
    missing = [[cell for cell in part if not store.done(cell)] for part in rounds]
    total = sum(map(len, rounds))
    present = total - sum(map(len, missing))
    with view.task("cells") as report:
        for bundle in bundles([group for part in missing for group in groups(part, fleet, room)]):
            with store.claimed([cell for group in bundle for cell in group]) as mine:
                for group in bundle:
                    failed += run_group([cell for cell in group if cell in mine], store, shared, view)
                    present += len(group)
                    report(present, total, standing(group, store, len(failed)))
                    landed()
    store.tidy()
    return failed


def standing(group: list[Experiment], store: Store, failed: int) -> dict[str, float]:
    """Metrics for the progress display: number of failed cells, and mean accuracy of the newest group."""
    rows = [row for cell in group if (row := store.row(cell)) and row["status"] == "done"]
    accuracy = {"accuracy": sum(row["last_acc"] for row in rows) / len(rows)} if rows else {}
    return {"failed": failed, **accuracy}


def run_group(cells: list[Experiment], store: Store, shared: Shared, view: View | None = None) -> list[Experiment]:
    """Run claimed cells as one program and write their rows; returns the cells that failed.

    A cell that diverged fails alone. After any other error the cells run one by one. If all of them fail again, for
    example on a full disk, the checkpoints of the group stay, and the next sweep continues from them.
    """
    if not cells:
        return []
    start, keeping = time.monotonic(), shared.keeping
    if keeping:
        keeping.begin()
    try:
        outcomes = run(cells, shared=shared, view=view)
    except Exception as error:
        if len(cells) > 1:
            words = f"{type(error).__name__}: {error}"
            print(f"{len(cells)} cells failed as one program and run one by one: {words}", file=sys.stderr)
            used = set(keeping.used) if keeping else set()
            failed = [cell for one in cells for cell in run_group([one], store, shared, view)]
            if keeping and len(failed) < len(cells):
                keeping.used.update(used)
                keeping.finished(cells)
            return failed
        outcomes = [error]
    seconds, failed, rows = round((time.monotonic() - start) / len(cells), 2), [], []
    for cell, outcome in zip(cells, outcomes, strict=True):
        if isinstance(outcome, Outcome):
            row = {"status": "done", **outcome.row, "seconds": seconds}
        else:
            failed.append(cell)
            print(f"failed: {cell.method} on {cell.dataset}, {cell.noise} {cell.rate}: {outcome}", file=sys.stderr)
            row = failure(cell, outcome, seconds)
        rows.append(row | {"command": store.command})
    store.write(rows, outcomes)
    if keeping and len(failed) < len(cells):
        keeping.finished(cells)
    return failed


def failure(cell: Experiment, error: Exception, seconds: float) -> dict:
    """The row of a failed cell."""
    return {
        "status": "failed_nan" if isinstance(error, Diverged) else "failed",
        "reason": f"{type(error).__name__}: {error}",
        **named(cell),
        "seconds": round(seconds, 2),
        "config": vars(cell),
        "fingerprint": fingerprint(cell),
        "hardware": hardware(),
        "commit": commit(),
        "versions": versions(),
    }
