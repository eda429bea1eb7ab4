"""C8: operations of distilling once and training one network, compared with training one on the whole set."""

import dataclasses
from collections import Counter
from typing import Any

from experiments.reporting.cells import Cell
from experiments.reporting.claims import FAILS, HOLDS, UNDECIDED, Finding, Study, scope_of
from experiments.reporting.contrasts import Estimate
from experiments.running.config import Experiment
from experiments.sweeping.cost import SHAPES, shape_of
from experiments.sweeping.operations import Operations, operations

CERTAIN = 2.0  # the formulas are accurate to this factor; smaller differences are undecided


def less_work(study: Study, moment: str) -> list[Finding]:
    """C8: compare counted operations, with shared work in full (to hold) and divided by its users (to fail)."""
    counted = {id(cell): [one for row in cell.rows if (one := operations_of(row))] for cell in study.cells}
    users = Counter(name for found in counted.values() for one in found for name in one.shared)
    findings, seen = [], set()
    for cell, full, _ in study.compared:
        if not cell.learns or full is None:
            continue
        if (kind := (cell.setting.data, cell.series, cell.ipc)) in seen:
            continue  # other labels of the same images need as many operations
        seen.add(kind)
        if not (counted[id(cell)] and counted[id(full)]):
            findings.append(Finding(scope_of(*kind), missing="operations of both sides: the method has no formula"))
            continue
        ours, theirs = counted[id(cell)][0], counted[id(full)][0]
        shared = sum(ours.shared.values())
        divided = sum(flop / users[name] for name, flop in ours.shared.items())
        most, least = ours.distil + shared + ours.train, ours.distil + divided + ours.train
        status = HOLDS if most * CERTAIN <= theirs.train else FAILS if least >= CERTAIN * theirs.train else UNDECIDED
        effect = Estimate(most / theirs.train, None, min(len(cell.rows), len(full.rows)), _names(cell, full))

        def say(ours: Operations = ours, theirs: Operations = theirs, cell: Cell = cell, full: Cell = full) -> str:
            return _in_words(ours, theirs, users) + _seconds(cell, full)

        lack = f"a factor above {CERTAIN:g}, the accuracy of the counts"
        findings.append(Finding(scope_of(*kind), effect, say=say, exact=status, missing=lack))
    return findings


def operations_of(row: dict[str, Any]) -> Operations | None:
    """Return the operations of a row: from its column, or counted from its settings for known data sets."""
    if "operations" in row:
        return Operations(**row["operations"]) if row["operations"] else None
    known = {field.name for field in dataclasses.fields(Experiment)}
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in row["config"].items() if name in known}
    try:
        cell = Experiment(**given)
        return operations(cell, shape_of(cell)) if cell.dataset in SHAPES else None
    except ValueError:  # method or option of another release or a fork
        return None


def _names(*cells: Cell) -> tuple[str, ...]:
    return tuple(row["fingerprint"] for cell in cells for row in cell.rows)


def _in_words(ours: Operations, theirs: Operations, users: Counter) -> str:
    shared = "".join(
        f", {name.split()[0]} {flop:.2g} (used by {users[name]} run{'s' * (users[name] > 1)})"
        for name, flop in ours.shared.items()
    )
    return (
        f"operations: distilling {ours.distil:.2g}{shared}, training on the result {ours.train:.2g}; training on "
        f"the whole set {theirs.train:.2g}"
    )


def _seconds(cell: Cell, full: Cell) -> str:
    """Return the seconds without compilation, if both sides ran on the same hardware and measured them."""
    if len({row.get("hardware") for row in (*cell.rows, *full.rows)}) > 1:
        return ""
    ours, theirs = cell.of(_steady), full.of("train_steady_s")
    if ours is None or theirs is None:
        return ""
    return f"; seconds without compilation: {ours.mean:.3g} and {theirs.mean:.3g}"


def _steady(row: dict[str, Any]) -> float | None:
    """Return the seconds of distilling and training one network, without compilation and with shared work in full."""
    parts = [row.get(name) for name in ("distill_steady_s", "train_steady_s", "space_s")]
    parts += (row.get("shared_s") or {}).values()
    return None if None in parts else sum(parts)
