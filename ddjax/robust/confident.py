"""Class weights of confident learning (Northcutt et al., 2021, arXiv:1911.00068), from the counts of cleanlab.

In a count matrix, rows are given labels and columns likely ones.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

_TINY = 1e-12


def checked(probabilities: Any, labels: Any) -> tuple[Float[np.ndarray, "n k"], Int[np.ndarray, "n"]]:
    """Check probabilities and labels.

    Raises:
      ValueError: shapes, values or classes are wrong.
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels)
    if p.ndim != 2 or y.shape != (len(p),) or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            f"probabilities must be [n k] and labels integers [n]; got {p.shape} and {y.dtype}{list(y.shape)}"
        )
    if not np.isfinite(p).all() or (p < 0).any() or np.abs(p.sum(axis=1) - 1).max() > 1e-2:
        raise ValueError("each row of probabilities must be non-negative and sum to 1; use a softmax")
    missing = np.setdiff1d(np.arange(p.shape[1]), y)
    if len(missing) or y.min() < 0 or y.max() >= p.shape[1]:
        raise ValueError(f"labels must be 0 .. {p.shape[1] - 1}, each given at least once; classes without: {missing}")
    return p / p.sum(axis=1, keepdims=True), y


def calibrated(counts: Int[np.ndarray, "k k"], labels: Any) -> Int[np.ndarray, "k k"]:
    """The joint, scaled so that row j sums to the number of labels j, and rounded by largest remainders."""
    sizes = np.bincount(np.asarray(labels), minlength=len(counts))
    scaled = counts / np.maximum(counts.sum(axis=1, keepdims=True), _TINY) * sizes[:, None]
    rounded = np.floor(scaled + 1e-9).astype(int)
    for row, exact, size in zip(rounded, scaled, sizes, strict=True):
        row[np.argsort(row - exact, kind="stable")[: size - row.sum()]] += 1
    return rounded


def class_weights(counts: Int[np.ndarray, "k k"]) -> Float[np.ndarray, "k"]:
    """Weight of the kept rows of each given class, 1 / P(given = k | true = k), with mean one."""
    diagonal = np.diag(counts) / np.maximum(counts.sum(axis=0), _TINY)
    weights = 1 / np.maximum(diagonal, 1e-3)
    return weights / weights.mean()
