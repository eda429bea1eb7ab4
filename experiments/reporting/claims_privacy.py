"""C9: membership leakage of distilled sets, at equal recipe, accuracy and size."""

from typing import Any

import numpy as np

from experiments.reporting.cells import Cell
from experiments.reporting.claims import Finding, Study, scope_in
from experiments.reporting.inference import every, some

NEAR = 0.02  # accuracies that differ by at most this count as equal
WANTED = "experiments.membership for the distilled set, a random set of its size, and all images at equal accuracy"


def privacy(study: Study, moment: str) -> list[Finding]:
    """C9: the attack has a smaller AUC than with all images and than with a random set of equal size."""
    findings = []
    known = {(cell.setting, cell.series, cell.ipc) for cell in study.attacked}
    for cell in study.cells:
        if cell.learns and (cell.setting, cell.series, cell.ipc) not in known and cell.of("membership_auc"):
            findings.append(Finding(scope_in(cell), say=lambda cell=cell: _before(cell), missing=WANTED))
    for cell in study.attacked:
        if not cell.learns:
            continue
        others = [o for o in study.attacked if (o.setting, o.protocol) == (cell.setting, cell.protocol)]
        randoms = [one for one in others if one.method == "random" and one.ipc == cell.ipc]
        wholes = [one for one in others if one.method == "full" and _distance(cell, one) <= NEAR]
        if not randoms or not wholes:
            findings.append(Finding(scope_in(cell), cell.of(auc), missing=WANTED))
            continue
        whole = min(wholes, key=lambda one: _distance(cell, one))
        ours = cell.contrast(auc)
        gaps = [(other.contrast(auc) - ours).estimate() for other in (whole, randoms[0])]

        def say(cell: Cell = cell, whole: Cell = whole, random: Cell = randoms[0]) -> str:
            return "; ".join(
                f"{name}: AUC {one.of(auc).mean:.3f}, {100 * one.of(_tpr).mean:.1f} % true positives at 1 % false "
                f"positives, accuracy {100 * one.of('last_acc').mean:.1f} %"
                for name, one in (("distilled", cell), ("random of equal size", random), ("everything", whole))
            )

        smaller = min(gaps, key=lambda one: float(np.mean(one.mean)))
        holds, fails = every([one.above() for one in gaps]), some([one.below() for one in gaps])
        findings.append(Finding(scope_in(cell), smaller, holds, fails, say))
    return findings


def auc(row: dict[str, Any]) -> float | None:
    """Return the AUC of the membership attack of a row, or None."""
    return (row.get("membership") or {}).get("auc")


def _tpr(row: dict[str, Any]) -> float | None:
    return (row.get("membership") or {}).get("tpr_at_1")


def _distance(cell: Cell, other: Cell) -> float:
    return abs(float(np.mean(cell.of("last_acc").mean - other.of("last_acc").mean)))


def _before(cell: Cell) -> str:
    """Describe the AUC by confidence, which also depends on recipe, accuracy and size."""
    estimate = cell.of("membership_auc")
    if estimate is None:
        return ""
    return f"AUC by confidence alone {estimate.mean:.3f}, which also depends on recipe, accuracy and size"
