"""What a verdict is, and what every claim is judged with.

A finding tests one hypothesis and its opposite. A claim's findings are corrected together, and then decide it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from experiments.reporting.cells import Cell, Compared, compare, gather
from experiments.reporting.contrasts import SEEDS, Contrast, Estimate
from experiments.reporting.inference import LEVEL, Number, detectable, holm, seeds_needed
from experiments.reporting.seeding import shared

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"
CODES = {1: HOLDS, -1: FAILS, 0: UNDECIDED}
REFERENCES = {
    "last": "the last epoch of full training",
    "best": "its best epoch on test images",
    "picked": "the epoch picked on a noisy hold-out",
}


class Finding(NamedTuple):
    """One comparison of a claim, before the correction: two p values, and what is to be said of it."""

    scope: str  # where: a data set, a series, a size
    effect: Estimate | None = None
    holds: Number = 1.0  # p value of what is claimed
    fails: Number = 1.0  # p value of its opposite
    say: Callable[[], str] = str  # what was measured
    missing: str = ""  # rows without which nothing is decided here
    applies: bool | np.ndarray = True  # whether the claim says anything about this comparison
    exact: str = ""  # a status that is arithmetic, so that there is nothing to test

    @property
    def tested(self) -> bool:
        """Whether it is one of the comparisons that are corrected for: without its rows there is no test."""
        nothing = np.ndim(self.holds) == np.ndim(self.fails) == 0 and self.holds == self.fails == 1.0
        return not self.exact and not (self.missing and nothing)


class Decided(NamedTuple):
    """A finding after the correction for all comparisons of its claim."""

    scope: str
    status: str
    words: str
    effect: float | None = None
    se: float | None = None
    n: int = 0
    rows: tuple[str, ...] = ()
    missing: str = ""
    p: float | None = None  # corrected, of the direction that the effect has
    detectable: float | None = None  # the smallest true effect that would have been found with 80 % power
    paired: bool = False


class Claim(NamedTuple):
    """A statement, its test in words, and the function that makes findings of a study.

    `judge(study, moment)` is asked once for each moment of the full-set baseline where `against_baseline`.
    """

    name: str
    title: str
    text: str
    test: str
    needs: str  # rows without which there is no finding at all
    judge: Callable[["Study", str], list[Finding]]
    against_baseline: bool = True
    unit: str = "points"


class Verdict(NamedTuple):
    """A claim with what the rows say about it, by the moment of the baseline ("last" alone where it has none)."""

    claim: Claim
    findings: dict[str, list[Decided]]
    status: dict[str, str]
    words: str
    shared: tuple[str, ...] = ()  # randomness that seeds share, whose variance the standard errors lack

    @property
    def headline(self) -> str:
        """Over all references: it holds against each, or fails against one that a practitioner could have."""
        if FAILS in (self.status["last"], self.status.get("picked")):
            return FAILS
        return HOLDS if set(self.status.values()) == {HOLDS} else UNDECIDED


class Study(NamedTuple):
    """All cells, all comparisons with training on everything, and cells whose models were attacked.

    Shadow models see half of the images: their rows stand beside no others.
    """

    cells: list[Cell]
    compared: list[Compared]
    attacked: list[Cell]

    @classmethod
    def of(cls, rows: Iterable[dict]) -> "Study":
        """The study that these rows are."""
        rows = list(rows)
        cells = gather(row for row in rows if not row.get("membership"))
        return cls(cells, compare(cells), gather(row for row in rows if row.get("membership")))

    def gains(self, noise: Iterable[str], moment: str) -> dict[tuple[str, str, int], dict[float, Contrast]]:
        """(data, series, ipc) -> rate -> advantage over the baseline; distillers on balanced data with noisy labels."""
        found: dict[tuple, dict[float, Contrast]] = defaultdict(dict)
        for cell, _, gains in self.compared:
            setting = cell.setting
            if cell.learns and setting.noise in noise and setting.rate and not setting.imbalance and moment in gains:
                found[setting.data, cell.series, cell.ipc][setting.rate] = gains[moment]
        return {key: dict(sorted(found[key].items())) for key in sorted(found)}

    def shared(self, names: Iterable[str]) -> tuple[str, ...]:
        """What the seeds of any cell behind these rows share."""
        used = set(names)
        cells = [
            cell.rows for cell in (*self.cells, *self.attacked) if used & {row["fingerprint"] for row in cell.rows}
        ]
        return tuple(dict.fromkeys(words for rows in cells for words in shared(rows)))


def tested(
    scope: str, contrast: Contrast, say: Callable[[Estimate], str], bound: float = 0.0, missing: str = ""
) -> Finding:
    """The finding on "the effect is above the bound"; its opposite is that it is below."""
    effect = contrast.estimate()
    return Finding(scope, effect, effect.above(bound), effect.below(bound), lambda: say(effect), missing)


def decisions(findings: Sequence[Finding]) -> np.ndarray:
    """1, -1 or 0 for each finding: it holds, fails or is undecided, Holm's correction over all that can be tested."""
    shape = np.broadcast_shapes(*(np.shape(one.holds) for one in findings), *(np.shape(one.fails) for one in findings))
    codes = np.zeros((len(findings), *shape), int)
    family = [i for i, one in enumerate(findings) if one.tested]
    if family:
        sides = [
            holm([np.broadcast_to(getattr(findings[i], side), shape) for i in family]) for side in ("holds", "fails")
        ]
        codes[family] = (sides[0] <= LEVEL).astype(int) - (sides[1] <= LEVEL)
    for i, one in enumerate(findings):
        if one.exact:
            codes[i] = next(code for code, name in CODES.items() if name == one.exact)
    return codes


def outcome(findings: Sequence[Finding]) -> np.ndarray:
    """1, -1 or 0 for the whole claim: all that it applies to must hold, and one that fails decides."""
    if not findings:
        return np.array(0)
    codes = decisions(findings)
    applies = np.stack([np.broadcast_to(one.applies, codes.shape[1:]) for one in findings])
    fails = np.any((codes == -1) & applies, axis=0)
    holds = np.all((codes == 1) | ~applies, axis=0) & np.any(applies, axis=0)
    return np.where(fails, -1, holds.astype(int))


def decide(findings: Sequence[Finding]) -> list[Decided]:
    """The findings that apply, with their corrected statuses and what undecided ones lack."""
    if not findings:
        return []
    codes = decisions(findings)
    family = [one for one in findings if one.tested]
    sides = [holm([getattr(one, side) for one in family]) for side in ("holds", "fails")] if family else [[], []]
    adjusted = {id(one): (float(up), float(down)) for one, up, down in zip(family, *sides, strict=True)}
    return [
        _decided(one, CODES[int(code)], adjusted.get(id(one)), max(1, len(family)))
        for one, code in zip(findings, codes, strict=True)
        if one.applies
    ]


def _decided(one: Finding, status: str, p: tuple[float, float] | None, family: int) -> Decided:
    effect, words = one.effect, one.say()
    if effect is None:
        return Decided(one.scope, status, words, missing=one.missing)
    seen, missing = None, one.missing if status == UNDECIDED else ""
    if effect.se and effect.n >= SEEDS:
        seen = detectable(float(effect.se), float(effect.df), LEVEL / family)
    if status == UNDECIDED and not missing:
        missing = _lack(effect, family)
    mean, se = float(effect.mean), None if effect.se is None else float(effect.se)
    silent = p is None or bool(missing and one.missing) or effect.n < SEEDS
    side = None if silent else min(p)
    return Decided(one.scope, status, words, mean, se, effect.n, effect.rows, missing, side, seen, effect.paired)


def _lack(effect: Estimate, family: int) -> str:
    """What an undecided comparison would take."""
    if effect.n < SEEDS:
        return f"{SEEDS - effect.n} more seed(s): {effect.n} of {SEEDS}"
    if not effect.se:
        return "seeds that differ: without any spread there is no standard error"
    needed = seeds_needed(float(effect.mean), float(effect.se), float(effect.df), effect.n, LEVEL / family)
    if needed is None:
        return "more than a thousand seeds, if the true difference is the one seen"
    return f"{max(needed, effect.n + 1)} seeds in all, if the true difference is the one seen"


def lacking(wanted: Iterable[float], present: Iterable[float]) -> str:
    """The rates of the study that were not measured, in words; empty where none is missing."""
    absent = [f"{rate:g}" for rate in wanted if rate not in set(present)]
    return f"rate{'s' * (len(absent) > 1)} {', '.join(absent)}" if absent else ""


def points(estimate: Estimate) -> str:
    """An accuracy difference in points."""
    spread = "" if estimate.se is None else f" ± {100 * estimate.se:.1f}"
    return f"{100 * estimate.mean:+.1f}{spread}"


def listed(curve: dict[float, Contrast]) -> str:
    """Advantages by rate, in points."""
    return "; ".join(f"{points(contrast.estimate())} at {rate:g}" for rate, contrast in curve.items())


def scope_of(data: str, series: str, ipc: int | None = None) -> str:
    """Where a finding was made, in words."""
    return f"{data}: {series}" + ("" if ipc is None else f", {ipc} per class")


def scope_in(cell: Cell) -> str:
    """Where a finding about one cell was made, its labels included."""
    return f"{scope_of(cell.setting.data, cell.series, cell.ipc)}, {cell.setting.labels}"
