"""Statistics of the verdicts: t tests, Holm's correction, detectable effects and required numbers of seeds.

All functions of p values are elementwise over arrays, so thousands of simulated studies can be judged at once.
"""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import optimize, special, stats

LEVEL = 0.025  # one-sided, for all comparisons of a claim together
POWER = 0.8
SEEDS = 3  # minimum for a test: two values do not estimate a standard deviation well enough
MAX_SEEDS = 1000  # required numbers of seeds above this are not reported

Number = float | Float[np.ndarray, "..."]


def satterthwaite(variances: Sequence[Number], dfs: Sequence[Number]) -> Number:
    """Return the degrees of freedom of a sum of independent variance estimates (Welch 1938, Satterthwaite 1946).

    Returns:
      The approximate degrees of freedom, between the minimum and the sum of `dfs`; NaN where all variances are 0.

    Example:
      >>> float(satterthwaite([1.0, 1.0], [2, 2]))
      4.0
    """
    total = np.sum(variances, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total**2 / np.sum([v**2 / df for v, df in zip(variances, dfs, strict=True)], axis=0)


def p_above(mean: Number, se: Number, df: Number, bound: float = 0.0) -> Number:
    """Return the one-sided p value of the t test that an effect is above `bound`.

    The p value is 1 where the standard error is 0, since values without spread allow no test.

    Example:
      >>> float(p_above(0.0, 1.0, 10.0)), float(p_above(5.0, 0.0, 10.0))
      (0.5, 1.0)
    """
    se = np.asarray(se, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = special.stdtr(df, -(mean - bound) / se)
    return np.where((se > 0) & np.isfinite(p), p, 1.0)


def holm(p: Sequence[Number]) -> Float[np.ndarray, "m ..."]:
    """Return the p values of a family of tests, adjusted by Holm's method (1979).

    The probability that any true null hypothesis is rejected at a level is at most that level, whatever the
    dependence between the tests.

    Example:
      >>> holm([0.01, 0.5, 0.02]).tolist()
      [0.03, 0.5, 0.04]
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
    """Return the p value of "all hypotheses are true": the largest p value (intersection-union test, no correction)."""
    return np.max(p, axis=0)


def some(p: Sequence[Number]) -> Number:
    """Return the p value of "at least one hypothesis is true": the smallest p value times their number (Bonferroni)."""
    return np.minimum(np.min(p, axis=0) * len(p), 1.0)


@functools.lru_cache(maxsize=4096)
def effect_size(df: float, level: float = LEVEL) -> float:
    """Return the effect, in standard errors, that a one-sided t test detects with power `POWER` (noncentral t)."""
    critical = stats.t.isf(level, df)
    return optimize.brentq(lambda shift: stats.nct.sf(critical, df, shift) - POWER, 0.0, 3.0 * critical + 10.0)


def detectable(se: float, df: float, level: float = LEVEL) -> float:
    """Return the smallest true effect that a t test with this standard error detects with power `POWER`."""
    return se * effect_size(round(float(df), 2), level)


def seeds_needed(effect: float, se: float, df: float, n: int, level: float = LEVEL) -> int | None:
    """Return the number of seeds that a comparison needs to detect an effect, given the observed spread.

    Returns:
      The number of seeds on each side, at least `SEEDS`; None if it is above `MAX_SEEDS` or cannot be computed.

    Example:
      >>> seeds_needed(0.02, se=0.01, df=4.0, n=3)
      7
    """
    if not effect or not np.isfinite(df) or n < 2:
        return None

    def enough(seeds: int) -> bool:
        return detectable(se * np.sqrt(n / seeds), df * (seeds - 1) / (n - 1), level) <= abs(effect)

    if not enough(MAX_SEEDS):
        return None
    low, high = SEEDS - 1, MAX_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
