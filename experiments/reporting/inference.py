"""The statistics behind the verdicts: t tests, Holm's correction, detectable effects and the seeds they take.

Everything is elementwise over arrays, so that thousands of simulated studies are judged at once.
"""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import optimize, special, stats

LEVEL = 0.025  # one-sided, for all comparisons of a claim together
POWER = 0.8
MOST_SEEDS = 1000  # a plan for more is no plan

Number = float | Float[np.ndarray, "..."]


def satterthwaite(variances: Sequence[Number], dfs: Sequence[Number]) -> Number:
    """Degrees of freedom of a sum of independent variance estimates (Welch 1938, Satterthwaite 1946).

    Args:
      variances: estimated variance of each term.
      dfs: degrees of freedom of each.

    Returns:
      The approximate degrees of freedom, between the smallest of `dfs` and their sum; NaN where all variances are 0.
    """
    total = np.sum(variances, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total**2 / np.sum([v**2 / df for v, df in zip(variances, dfs, strict=True)], axis=0)


def p_above(mean: Number, se: Number, df: Number, bound: float = 0.0) -> Number:
    """One-sided p value of the t test that an effect is above `bound`.

    An estimate without any spread has no standard error to test with: its p value is 1.
    """
    se = np.asarray(se, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = special.stdtr(df, -(mean - bound) / se)
    return np.where((se > 0) & np.isfinite(p), p, 1.0)


def p_below(mean: Number, se: Number, df: Number, bound: float = 0.0) -> Number:
    """One-sided p value of the t test that an effect is below `bound`: see `p_above`."""
    return p_above(-np.asarray(mean), se, df, -bound)


def holm(p: Sequence[Number]) -> Float[np.ndarray, "m ..."]:
    """p values adjusted for all m of a family (Holm 1979): valid under any dependence between the tests.

    Args:
      p: a p value for each comparison, along the first axis.

    Returns:
      Adjusted p values in the same order; the chance that any true null has one up to a level is at most that level.
    """
    values = np.asarray(p, float)
    m = len(values)
    order = np.argsort(values, axis=0)
    factors = np.arange(m, 0, -1).reshape(-1, *[1] * (values.ndim - 1))
    ordered = np.minimum(np.maximum.accumulate(np.take_along_axis(values, order, 0) * factors, axis=0), 1.0)
    adjusted = np.empty_like(values)
    np.put_along_axis(adjusted, order, ordered, 0)
    return adjusted


def every(p: Sequence[Number]) -> Number:
    """p value of "all of these are so": the largest (an intersection-union test needs no correction)."""
    return np.max(p, axis=0)


def some(p: Sequence[Number]) -> Number:
    """p value of "at least one of these is so": the smallest times their number (Bonferroni)."""
    return np.minimum(np.min(p, axis=0) * len(p), 1.0)


@functools.lru_cache(maxsize=4096)
def effect_size(df: float, level: float = LEVEL, power: float = POWER) -> float:
    """The effect, in standard errors, that a one-sided t test finds with the given power (noncentral t)."""
    critical = stats.t.isf(level, df)
    return optimize.brentq(lambda shift: stats.nct.sf(critical, df, shift) - power, 0.0, 3.0 * critical + 10.0)


def detectable(se: float, df: float, level: float = LEVEL, power: float = POWER) -> float:
    """The smallest true effect that a t test with this standard error finds with the given power."""
    return se * effect_size(round(float(df), 2), level, power)


def seeds_needed(effect: float, se: float, df: float, n: int, level: float = LEVEL, power: float = POWER) -> int | None:
    """How many seeds a comparison takes for an effect, going by the spread that was seen.

    Args:
      effect: the true effect that is to be found; its sign does not matter.
      se: the standard error that `n` seeds gave.
      df: its degrees of freedom.
      n: seeds on the side with fewer.
      level: of the one-sided test.
      power: the chance that it finds the effect.

    Returns:
      Seeds on each side, at least 2; None where more than a thousand would be needed, or nothing is known.
    """
    if not effect or not np.isfinite(df) or n < 2:
        return None

    def found(seeds: int) -> bool:
        return detectable(se * np.sqrt(n / seeds), df * (seeds - 1) / (n - 1), level, power) <= abs(effect)

    if not found(MOST_SEEDS):
        return None
    low, high = 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high
