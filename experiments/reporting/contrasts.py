"""Weighted sums of means over seeds, with standard errors and degrees of freedom.

If both sides of a comparison share noise draws, they are compared draw by draw. Otherwise seeds are independent.
"""

import math
from collections.abc import Hashable, Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.reporting.inference import SEEDS, Number, p_above, satterthwaite

ROUNDING = 1e-12  # a smaller standard error is that of equal values, whose sums are rounded


class Estimate(NamedTuple):
    """A mean over seeds, its standard error (None below two seeds) and the fingerprints of its rows."""

    mean: Number
    se: Number | None
    n: int
    rows: tuple[str, ...]
    df: Number = math.nan
    paired: bool = False  # whether differences were taken within noise draws

    def above(self, bound: float = 0.0) -> Number:
        """Return the p value of "the effect is above the bound"; 1 with fewer than `SEEDS` seeds."""
        few = self.se is None or self.n < SEEDS
        return np.ones(np.shape(self.mean)) if few else p_above(self.mean, self.se, self.df, bound)

    def below(self, bound: float = 0.0) -> Number:
        """Return the p value of "the effect is below the bound"; 1 with fewer than `SEEDS` seeds."""
        return self._replace(mean=-self.mean).above(-bound)


class Sample(NamedTuple):
    """One value per row of a cell, with further axes for simulated studies, and the noise draw of each row."""

    values: Float[np.ndarray, "n ..."]
    draws: tuple[Hashable, ...] | None  # None if rows are independent, or share one draw
    rows: tuple[str, ...]

    def units(self) -> dict[Hashable, Number]:
        """Return the independent values: the mean over each noise draw, or each row."""
        if self.draws is None:
            return dict(enumerate(self.values))
        return {
            draw: np.mean([v for v, d in zip(self.values, self.draws, strict=True) if d == draw], axis=0)
            for draw in dict.fromkeys(self.draws)
        }


class Contrast(NamedTuple):
    """A weighted sum of means of samples."""

    terms: tuple[tuple[float, Sample], ...]

    def __add__(self, other: "Contrast") -> "Contrast":  # type: ignore[override]
        """Return the sum of two contrasts."""
        return Contrast(self.terms + other.terms)

    def __sub__(self, other: "Contrast") -> "Contrast":
        """Return the difference of two contrasts."""
        return self + other.times(-1.0)

    def times(self, factor: float) -> "Contrast":
        """Return the contrast with each weight multiplied by the factor."""
        return Contrast(tuple((factor * weight, sample) for weight, sample in self.terms))

    def estimate(self) -> Estimate:
        """Return the sum with its standard error. The weights of a sample that occurs twice are added.

        Satterthwaite's degrees of freedom reject too often if a small sample varies more than a large one. Samples of
        different sizes therefore have the degrees of freedom of the smallest one, which is conservative.
        """
        merged: dict[tuple, tuple[float, Sample]] = {}
        for weight, sample in self.terms:
            key = sample.rows, np.asarray(sample.values).tobytes()
            merged[key] = (merged.get(key, (0.0,))[0] + weight, sample)
        terms = [(weight, sample) for weight, sample in merged.values() if weight]
        shared, independent = _split(terms)
        parts = [[weight * value for value in sample.units().values()] for weight, sample in independent]
        if shared:
            units = [(weight, sample.units()) for weight, sample in shared]
            common = set.intersection(*(set(unit) for _, unit in units))
            parts.append([sum(weight * unit[draw] for weight, unit in units) for draw in sorted(common, key=repr)])
        means, sizes = [np.mean(part, axis=0) for part in parts], [len(part) for part in parts]
        n = min(sizes)
        rows = tuple(dict.fromkeys(row for _, sample in terms for row in sample.rows))
        if n < 2:
            return Estimate(_plain(sum(means)), None, n, rows, paired=bool(shared))
        variances = [np.var(part, axis=0, ddof=1) / len(part) for part in parts]
        same = len(set(sizes)) == 1
        df = satterthwaite(variances, [n - 1] * len(sizes)) if same else np.full(np.shape(means[0]), n - 1.0)
        se = np.sqrt(sum(variances))
        return Estimate(_plain(sum(means)), _plain(np.where(se > ROUNDING, se, 0.0)), n, rows, _plain(df), bool(shared))


def _plain(value: Number) -> Number:
    """Return a scalar as a Python float, for text and JSON."""
    return float(value) if np.ndim(value) == 0 else value


def _split(terms: list[tuple[float, Sample]]) -> tuple[list, list]:
    """Return the terms that are compared draw by draw, and the independent terms."""
    drawn = [term for term in terms if term[1].draws is not None]
    draws = [set(sample.draws or ()) for _, sample in drawn]
    if len(drawn) > 1 and len(set.intersection(*draws)) >= min(2, *map(len, draws)):  # a sample may have one draw only
        return drawn, [term for term in terms if term[1].draws is None]
    return [], terms


def mean_of(sample: Sample) -> Contrast:
    """Return the mean of one sample."""
    return Contrast(((1.0, sample),))


def weighted(terms: Iterable[tuple[float, Contrast]]) -> Contrast:
    """Return the weighted sum of contrasts."""
    return Contrast(tuple(term for weight, one in terms for term in one.times(weight).terms))


def slope(curve: dict[float, Contrast]) -> Contrast:
    """Return the least-squares slope of a curve, as a contrast that tests a trend.

    Example:
      >>> line = {x: mean_of(Sample(np.array([2 * x]), None, (f"{x}",))) for x in (0.0, 0.5, 1.0)}
      >>> slope(line).estimate().mean
      2.0
    """
    centre = sum(curve) / len(curve)
    spread = sum((x - centre) ** 2 for x in curve)
    return weighted([((x - centre) / spread, value) for x, value in curve.items()])


def average(curve: Iterable[Contrast]) -> Contrast:
    """Return the unweighted mean of several contrasts."""
    kept = list(curve)
    return weighted([(1 / len(kept), one) for one in kept])
