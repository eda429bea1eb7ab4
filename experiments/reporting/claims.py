"""What a verdict is, and what every claim is judged with."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from experiments.reporting.cells import Cell, Compared, Estimate, compare, gather

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"
SEEDS = 3  # a mean over fewer decides nothing


class Finding(NamedTuple):
    """One comparison: a claim about one data set, one series, one size."""

    scope: str
    status: str
    words: str  # what was measured
    effect: float | None = None
    se: float | None = None
    n: int = 0
    rows: tuple[str, ...] = ()
    missing: str = ""  # what would have to be run


class Claim(NamedTuple):
    """A statement, its test in words, and the function that makes findings of a study.

    `judge(study, moment)` is asked once for each moment of the full-set baseline where `against_baseline`.
    """

    name: str
    text: str
    test: str
    needs: str  # rows without which there is no finding at all
    judge: Callable[["Study", str], list[Finding]]
    against_baseline: bool = True
    unit: str = "points"


class Verdict(NamedTuple):
    """A claim with what the rows say about it, by the moment of the baseline; "last" is the headline."""

    claim: Claim
    findings: dict[str, list[Finding]]
    status: dict[str, str]
    words: str


class Study(NamedTuple):
    """All cells, and all comparisons with training on everything."""

    cells: list[Cell]
    compared: list[Compared]

    @classmethod
    def of(cls, rows: Iterable[dict]) -> "Study":
        """The study that these rows are."""
        cells = gather(rows)
        return cls(cells, compare(cells))

    def deltas(self, noise: Iterable[str], moment: str) -> dict[tuple[str, str, int], dict[float, Estimate]]:
        """(data, series, ipc) -> rate -> advantage over the baseline; distillers on balanced data with noisy labels."""
        found: dict[tuple, dict[float, Estimate]] = defaultdict(dict)
        for cell, _, deltas in self.compared:
            setting = cell.setting
            if cell.learns and setting.noise in noise and setting.rate and not setting.imbalance and moment in deltas:
                found[setting.data, cell.series, cell.ipc][setting.rate] = deltas[moment]
        return {key: dict(sorted(found[key].items())) for key in sorted(found)}


def sign(effect: Estimate) -> str:
    """Above or below zero by more than two standard errors of at least three seeds a side; else unclear."""
    if effect.n < SEEDS or effect.se is None or abs(effect.mean) <= 2 * effect.se:
        return "unclear"
    return "above" if effect.mean > 0 else "below"


def decided(effect: Estimate) -> str:
    """The verdict on `the effect is above zero`."""
    return {"above": HOLDS, "below": FAILS, "unclear": UNDECIDED}[sign(effect)]


def finding(
    scope: str, status: str, words: str, effect: Estimate, missing: str = "", used: Iterable[Estimate] = ()
) -> Finding:
    """A finding about an estimate, that `used` others; where it is too uncertain, what is missing is said."""
    if status == UNDECIDED and not missing:
        missing = (
            f"{SEEDS - effect.n} more seed(s): {effect.n} of {SEEDS}"
            if effect.n < SEEDS
            else "a difference above two standard errors: more seeds"
        )
    rows = tuple(dict.fromkeys(r for one in (effect, *used) for r in one.rows))
    return Finding(scope, status, words, effect.mean, effect.se, effect.n, rows, missing)


def together(statuses: Iterable[str]) -> str:
    """All must hold; one that fails decides."""
    statuses = list(statuses)
    if FAILS in statuses:
        return FAILS
    return HOLDS if statuses and UNDECIDED not in statuses else UNDECIDED


def crossing(deltas: dict[float, Estimate]) -> float:
    """The smallest measured rate from which on every measured advantage is above zero; infinite where there is none."""
    at = math.inf
    for rate in sorted(deltas, reverse=True):
        if sign(deltas[rate]) != "above":
            break
        at = rate
    return at


def lacking(wanted: Iterable[float], present: Iterable[float]) -> str:
    """The rates of the study that were not measured, in words; empty where none is missing."""
    absent = [f"{rate:g}" for rate in wanted if rate not in set(present)]
    return f"rates {', '.join(absent)}" if absent else ""


def points(estimate: Estimate) -> str:
    """An accuracy difference in points."""
    spread = "" if estimate.se is None else f" ± {100 * estimate.se:.1f}"
    return f"{100 * estimate.mean:+.1f}{spread}"


def listed(deltas: dict[float, Estimate]) -> str:
    """Advantages by rate, in points."""
    return "; ".join(f"{points(estimate)} at {rate:g}" for rate, estimate in deltas.items())


def scope_of(data: str, series: str, ipc: int | None = None) -> str:
    """Where a finding was made, in words."""
    return f"{data}: {series}" + ("" if ipc is None else f", {ipc} per class")
