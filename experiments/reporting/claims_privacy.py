"""C9: whether distilled sets give away less about who was in the data, at equal recipe, accuracy and size."""

from typing import Any

import numpy as np

from experiments.reporting.cells import Cell
from experiments.reporting.claims import Finding, Study, scope_in
from experiments.reporting.inference import every, some

NEAR = 0.02  # accuracies that differ by more are not equal
WANTED = "experiments.membership for the set, for a random set of its size and for all images at equal accuracy"


def privacy(study: Study, moment: str) -> list[Finding]:
    """C9: a likelihood-ratio attack tells less from it than from all images and than from a random set of its size."""
    found = []
    known = {(cell.setting, cell.series, cell.ipc) for cell in study.attacked}
    for cell in study.cells:
        if cell.learns and (cell.setting, cell.series, cell.ipc) not in known and cell.of("membership_auc"):
            found.append(Finding(scope_in(cell), say=lambda cell=cell: _before(cell), missing=WANTED))
    for cell in study.attacked:
        if not cell.learns:
            continue
        others = [o for o in study.attacked if (o.setting, o.protocol) == (cell.setting, cell.protocol)]
        randoms = [one for one in others if one.method == "random" and one.ipc == cell.ipc]
        wholes = [one for one in others if one.method == "full" and _distance(cell, one) <= NEAR]
        if not randoms or not wholes:
            found.append(Finding(scope_in(cell), cell.of(auc), missing=WANTED))
            continue
        whole = min(wholes, key=lambda one: _distance(cell, one))
        ours = cell.contrast(auc)
        gaps = [(other.contrast(auc) - ours).estimate() for other in (whole, randoms[0])]

        def say(cell: Cell = cell, whole: Cell = whole, random: Cell = randoms[0]) -> str:
            return "; ".join(
                f"{name}: AUC {one.of(auc).mean:.3f}, {100 * one.of(_tpr).mean:.1f} % found at 1 % false alarms, "
                f"accuracy {100 * one.of('last_acc').mean:.1f} %"
                for name, one in (("distilled", cell), ("random of equal size", random), ("everything", whole))
            )

        smaller = min(gaps, key=lambda one: float(np.mean(one.mean)))
        holds, fails = every([one.above() for one in gaps]), some([one.below() for one in gaps])
        found.append(Finding(scope_in(cell), smaller, holds, fails, say))
    return found


def auc(row: dict[str, Any]) -> float | None:
    """How well the attack ranks members above others."""
    return (row.get("membership") or {}).get("auc")


def _tpr(row: dict[str, Any]) -> float | None:
    return (row.get("membership") or {}).get("tpr_at_1")


def _distance(cell: Cell, other: Cell) -> float:
    return abs(float(np.mean(cell.of("last_acc").mean - other.of("last_acc").mean)))


def _before(cell: Cell) -> str:
    """What rows without the attack say, which is confounded by recipe, accuracy and size."""
    found = cell.of("membership_auc")
    if found is None:
        return ""
    return f"confidence alone tells training from test images with AUC {found.mean:.3f}, whatever that is due to"
