"""Types of claims and verdicts, and the decision rule that all claims share.

A finding tests one hypothesis and its opposite. The p values of a claim's findings are corrected together.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.reporting.cells import Cell, Compared, compare, gather
from experiments.reporting.contrasts import Contrast, Estimate
from experiments.reporting.inference import LEVEL, SEEDS, Number, detectable, holm, seeds_needed
from experiments.reporting.seeding import shared

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"
CODES = {1: HOLDS, -1: FAILS, 0: UNDECIDED}
REFERENCES = {
    "last": "the last epoch of full training",
    "best": "its best epoch on test images",
    "picked": "the epoch picked on a noisy hold-out",
}


class Finding(NamedTuple):
    """One comparison of a claim before the correction: two p values and a description."""

    scope: str  # data set, series and size
    effect: Estimate | None = None
    holds: Number = 1.0  # p value of the claim
    fails: Number = 1.0  # p value of the opposite
    say: Callable[[], str] = str  # description of the measured values
    missing: str = ""  # rows that the decision needs
    applies: bool | np.ndarray = True  # whether the claim applies to this comparison
    exact: str = ""  # status that follows from counts without a test
    bound: float = 0.0  # of the effect, between the claim and its opposite
    among: int = 1  # number of tests of which one must be significant (Bonferroni)

    @property
    def tested(self) -> bool:
        """Return whether the comparison counts in the correction; without its rows there is no test."""
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
    p: float | None = None  # corrected p value in the direction of the effect
    detectable: float | None = None  # smallest true effect that is detected with 80 % power
    paired: bool = False


class Claim(NamedTuple):
    """A statement, a description of its test, and the function that returns the findings of a study.

    `judge(study, moment)` is called for each epoch of the baseline if `against_baseline`, otherwise for "last" only.
    """

    name: str
    title: str
    text: str
    test: str
    needs: str  # rows that any finding needs
    judge: Callable[["Study", str], list[Finding]]
    against_baseline: bool = True
    unit: str = "points"


class Verdict(NamedTuple):
    """The decided findings and the status of a claim, by epoch of the baseline ("last" only without a baseline)."""

    claim: Claim
    findings: dict[str, list[Decided]]
    status: dict[str, str]
    words: str
    refuted: bool  # whether the claim fails over the references together; see `refuted`
    shared: tuple[str, ...] = ()  # randomness that seeds share; its variance is not in the standard errors

    @property
    def headline(self) -> str:
        """Return the status over all references."""
        if self.refuted:
            return FAILS
        return HOLDS if set(self.status.values()) == {HOLDS} else UNDECIDED


class Study(NamedTuple):
    """All cells, all comparisons with training on the whole set, and cells with a membership attack.

    Shadow models are trained on half of the images, so their cells are not compared with other cells.
    """

    cells: list[Cell]
    compared: list[Compared]
    attacked: list[Cell]

    @classmethod
    def of(cls, rows: Iterable[dict]) -> "Study":
        """Return the study of these rows."""
        rows = list(rows)
        cells = gather(row for row in rows if not row.get("membership"))
        return cls(cells, compare(cells), gather(row for row in rows if row.get("membership")))

    def gains(self, noise: Iterable[str], moment: str) -> dict[tuple[str, str, int], dict[float, Contrast]]:
        """Return advantages by (data, series, ipc) and rate, for distillers on balanced data with noisy labels."""
        advantages: dict[tuple, dict[float, Contrast]] = defaultdict(dict)
        for cell, _, gains in self.compared:
            setting = cell.setting
            if cell.learns and setting.noise in noise and setting.rate and not setting.imbalance and moment in gains:
                advantages[setting.data, cell.series, cell.ipc][setting.rate] = gains[moment]
        return {key: dict(sorted(advantages[key].items())) for key in sorted(advantages)}

    def shared(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the randomness that seeds share in any cell of these rows."""
        used = set(names)
        cells = [
            cell.rows for cell in (*self.cells, *self.attacked) if used & {row["fingerprint"] for row in cell.rows}
        ]
        return tuple(dict.fromkeys(words for rows in cells for words in shared(rows)))


def tested(scope: str, contrast: Contrast, say: Callable[[Estimate], str], bound: float = 0.0) -> Finding:
    """Return the finding for "the effect is above the bound"; the opposite is "below the bound"."""
    effect = contrast.estimate()
    holds, fails = effect.above(bound), effect.below(bound)
    return Finding(scope, effect, holds, fails, lambda: say(effect), bound=bound)


def corrected(findings: Sequence[Finding]) -> np.ndarray:
    """Return p values [2, f, ...] of the claim and of its opposite, by Holm over all tested findings; 1 for others."""
    shape = np.broadcast_shapes(*(np.shape(one.holds) for one in findings), *(np.shape(one.fails) for one in findings))
    p = np.ones((2, len(findings), *shape))
    family = [i for i, one in enumerate(findings) if one.tested]
    for side, name in enumerate(("holds", "fails")):
        if family:
            p[side, family] = holm([np.broadcast_to(getattr(findings[i], name), shape) for i in family])
    return p


def decisions(findings: Sequence[Finding]) -> np.ndarray:
    """Return 1 (holds), -1 (fails) or 0 (undecided) for each finding, by its corrected p values."""
    holds, fails = corrected(findings) <= LEVEL
    codes = holds.astype(int) - fails
    for i, one in enumerate(findings):
        if one.exact:
            codes[i] = next(code for code, name in CODES.items() if name == one.exact)
    return codes


def outcome(findings: Sequence[Finding]) -> np.ndarray:
    """Return 1, -1 or 0 for the claim. It holds if all findings that apply hold, and fails if one fails."""
    if not findings:
        return np.array(0)
    codes = decisions(findings)
    applies = np.stack([np.broadcast_to(one.applies, codes.shape[1:]) for one in findings])
    fails = np.any((codes == -1) & applies, axis=0)
    holds = np.all((codes == 1) | ~applies, axis=0) & np.any(applies, axis=0)
    return np.where(fails, -1, holds.astype(int))


def refuted(findings: Mapping[str, Sequence[Finding]]) -> np.ndarray:
    """Return whether a claim fails against the last or the picked epoch, whose comparisons are corrected together.

    The best epoch on test images cannot make a claim fail. A test that does not depend on the reference counts once.
    """
    together = {
        (one.scope, np.asarray(one.holds).tobytes(), np.asarray(one.fails).tobytes()): one
        for moment in ("last", "picked")
        for one in findings.get(moment, ())
    }
    return outcome([*together.values()]) == -1


def decide(findings: Sequence[Finding]) -> list[Decided]:
    """Return the findings that apply, with corrected p values, statuses and missing evidence."""
    if not findings:
        return []
    level = LEVEL / max(1, sum(one.tested for one in findings))
    return [
        _decided(one, CODES[int(code)], float(p), level / one.among)
        for one, code, p in zip(findings, decisions(findings), corrected(findings).min(axis=0), strict=True)
        if one.applies
    ]


def _decided(one: Finding, status: str, p: float, level: float) -> Decided:
    effect, words = one.effect, one.say()
    if effect is None:
        return Decided(one.scope, status, words, missing=one.missing)
    seen, missing = None, one.missing if status == UNDECIDED else ""
    if effect.se and effect.n >= SEEDS:
        seen = detectable(float(effect.se), float(effect.df), level)
    if status == UNDECIDED and not missing:
        missing = _lack(effect, one.bound, level)
    mean, se = float(effect.mean), None if effect.se is None else float(effect.se)
    silent = not one.tested or bool(missing and one.missing) or effect.n < SEEDS
    shown = None if silent else p
    return Decided(one.scope, status, words, mean, se, effect.n, effect.rows, missing, shown, seen, effect.paired)


def _lack(effect: Estimate, bound: float, level: float) -> str:
    """Return the evidence that an undecided comparison needs."""
    if effect.n < SEEDS:
        return f"{SEEDS - effect.n} more seed(s): {effect.n} of {SEEDS}"
    if not effect.se:
        return "seeds with different results: without spread there is no standard error"
    distance = float(effect.mean) - bound
    needed = seeds_needed(distance, float(effect.se), float(effect.df), effect.n, level)
    if needed is None:
        return "more than 1000 seeds, if the observed difference is the true one"
    return f"{max(needed, effect.n + 1)} seeds in total, if the observed difference is the true one"


def lacking(wanted: Iterable[float], present: Iterable[float]) -> str:
    """Return the rates that were not measured as text; empty if none is missing."""
    absent = [f"{rate:g}" for rate in wanted if rate not in set(present)]
    return f"rate{'s' * (len(absent) > 1)} {', '.join(absent)}" if absent else ""


def points(estimate: Estimate) -> str:
    """Return an accuracy difference in percentage points, with its standard error."""
    spread = "" if estimate.se is None else f" ± {100 * estimate.se:.1f}"
    return f"{100 * estimate.mean:+.1f}{spread}"


def listed(curve: dict[float, Contrast]) -> str:
    """Return advantages by rate, in percentage points."""
    return "; ".join(f"{points(contrast.estimate())} at {rate:g}" for rate, contrast in curve.items())


def scope_of(data: str, series: str, ipc: int | None = None) -> str:
    """Return data set, series and size as text."""
    return f"{data}: {series}" + ("" if ipc is None else f", {ipc} per class")


def scope_in(cell: Cell) -> str:
    """Return data set, series, size and labels of a cell as text."""
    return f"{scope_of(cell.setting.data, cell.series, cell.ipc)}, {cell.setting.labels}"
