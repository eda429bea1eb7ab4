"""Confident learning (Northcutt et al., 2021, arXiv:1911.00068): counts of given against likely labels.

All functions run on the host in float64. In a count matrix C, rows are given labels and columns true ones; a transition
matrix, like the one that `latent` returns, has the transposed layout.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ddjax.names import unknown

FILTERS = ("prune_by_noise_rate", "prune_by_class", "both", "confident_learning", "predicted_neq_given")
_TINY = 1e-12


class Latent(NamedTuple):
    """The noise that counts imply."""

    prior: Float[np.ndarray, "k"]  # of true labels
    transition: Float[np.ndarray, "k k"]  # T[true, given], rows sum to one
    inverse: Float[np.ndarray, "k k"]  # P(true | given), row given, rows sum to one


def checked(probabilities: Any, labels: Any) -> tuple[Float[np.ndarray, "n k"], Int[np.ndarray, "n"]]:
    """Check probabilities and labels.

    Args:
      probabilities: [n k], rows sum to 1 within 1 %.
      labels: [n], each class at least once.

    Returns:
      The probabilities in float64, rows normalised, and the labels.

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


def thresholds(probabilities: Any, labels: Any) -> Float[np.ndarray, "k"]:
    """Threshold of each class: its mean probability over the rows with this given label."""
    p, y = checked(probabilities, labels)
    return np.array([p[y == j, j].mean() for j in range(p.shape[1])])


def likely(probabilities: Any, labels: Any) -> Int[np.ndarray, "n"]:
    """Each row's most probable class among those that reach their threshold, or -1 if none does."""
    p, y = checked(probabilities, labels)
    confident = (
        p >= thresholds(p, y)[None] - 1e-6
    )  # tolerance, so that a class of equal probabilities reaches its threshold
    return np.where(confident.any(axis=1), np.where(confident, p, -1).argmax(axis=1), -1)


def confident_joint(probabilities: Any, labels: Any) -> Int[np.ndarray, "k k"]:
    """Counts of (given, likely) labels, with a diagonal of at least 1.

    Args:
      probabilities: [n k], best cross-validated.
      labels: [n], as given.

    Returns:
      The counts, rows given.

    Raises:
      ValueError: see `checked`.

    Example:
      >>> import numpy as np
      >>> from ddjax.robust.confident import confident_joint
      >>> confident_joint(np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1], [0.1, 0.9]]), np.array([0, 0, 1, 1])).tolist()
      [[1, 0], [1, 1]]
    """
    p, y = checked(probabilities, labels)
    guess, k = likely(p, y), p.shape[1]
    counts = np.bincount((y * k + guess)[guess >= 0], minlength=k * k).reshape(k, k)
    np.fill_diagonal(counts, np.maximum(np.diag(counts), 1))
    return counts


def calibrated(counts: Int[np.ndarray, "k k"], labels: Any) -> Int[np.ndarray, "k k"]:
    """The joint, scaled so that row j sums to the number of labels j, and rounded by largest remainders."""
    sizes = np.bincount(np.asarray(labels), minlength=len(counts))
    scaled = counts / np.maximum(counts.sum(axis=1, keepdims=True), _TINY) * sizes[:, None]
    rounded = np.floor(scaled + 1e-9).astype(int)
    for row, exact, size in zip(rounded, scaled, sizes, strict=True):
        row[np.argsort(row - exact, kind="stable")[: size - row.sum()]] += 1
    return rounded


def noise_rate(probabilities: Any, labels: Any) -> float:
    """Share of wrong labels that the calibrated joint implies. It tends to exceed the true share."""
    joint = calibrated(confident_joint(probabilities, labels), labels)
    return float(1 - np.trace(joint) / joint.sum())


def latent(counts: Int[np.ndarray, "k k"], labels: Any) -> Latent:
    """Prior and noise of a (calibrated) joint: prior[j] = P(given j) P(true j | given j) / P(given j | true j)."""
    transition = (counts / np.maximum(counts.sum(axis=0, keepdims=True), _TINY)).T
    inverse = counts / np.maximum(counts.sum(axis=1, keepdims=True), _TINY)
    given = np.bincount(np.asarray(labels), minlength=len(counts)) / len(labels)
    prior = given * np.diag(inverse) / np.maximum(np.diag(transition), _TINY)
    return Latent(prior / prior.sum(), transition, inverse)


def wrong_labels(
    probabilities: Any, labels: Any, by: str = "prune_by_noise_rate", keep: int = 1
) -> Bool[np.ndarray, "n"]:
    """Flag labels that are probably wrong, among those that are not the prediction.

    Args:
      probabilities: [n k], best cross-validated.
      labels: [n], as given.
      by: the filter. "prune_by_class" flags the least probable labels of each given class, in the number that the joint
        implies; "prune_by_noise_rate" flags the largest margins of each pair (given, true), in the number of the joint;
        "both" is their intersection; "confident_learning" flags the off-diagonal rows of the uncalibrated joint;
        "predicted_neq_given" flags all.
      keep: at least this many labels of each class are not flagged (by the first three filters).

    Returns:
      True for flagged labels.

    Raises:
      ValueError: the filter is unknown; see also `checked`.
    """
    if by not in FILTERS:
        raise unknown("filter", by, FILTERS)
    p, y = checked(probabilities, labels)
    if by == "predicted_neq_given":
        flagged = np.ones(len(y), bool)
    elif by == "confident_learning":
        flagged = (likely(p, y) != y) & (likely(p, y) >= 0)
    else:
        joint = _spared(calibrated(confident_joint(p, y), y), keep)
        flagged = np.ones(len(y), bool)
        if by != "prune_by_noise_rate":
            flagged &= _by_class(p, y, joint)
        if by != "prune_by_class":
            flagged &= _by_pair(p, y, joint)
    return flagged & (p[np.arange(len(y)), y] < p.max(axis=1))


def class_weights(counts: Int[np.ndarray, "k k"]) -> Float[np.ndarray, "k"]:
    """Weight of the kept rows of each given class, 1 / P(given = k | true = k), with mean one."""
    diagonal = np.diag(counts) / np.maximum(counts.sum(axis=0), _TINY)
    weights = 1 / np.maximum(diagonal, 1e-3)
    return weights / weights.mean()


def _spared(joint: Int[np.ndarray, "k k"], keep: int) -> Int[np.ndarray, "k k"]:
    """The joint with at least `keep` right labels per given class, taken from its wrong ones proportionally."""
    joint = joint.copy()
    for j, row in enumerate(joint):
        wrong, short = row.sum() - row[j], min(keep, row.sum()) - row[j]
        if short > 0:
            off = np.delete(np.arange(len(row)), j)
            row[off] = np.floor(row[off] * (wrong - short) / max(wrong, 1)).astype(int)
            row[j] += wrong - row[off].sum()
    return joint


def _by_class(p: Float[np.ndarray, "n k"], y: Int[np.ndarray, "n"], joint: Int[np.ndarray, "k k"]) -> np.ndarray:
    flagged = np.zeros(len(y), bool)
    for j, row in enumerate(joint):
        mine = np.flatnonzero(y == j)
        flagged[mine[np.argsort(p[mine, j], kind="stable")[: len(mine) - row[j]]]] = True
    return flagged


def _by_pair(p: Float[np.ndarray, "n k"], y: Int[np.ndarray, "n"], joint: Int[np.ndarray, "k k"]) -> np.ndarray:
    flagged = np.zeros(len(y), bool)
    for j, row in enumerate(joint):
        mine = np.flatnonzero(y == j)
        for other in np.flatnonzero(np.arange(len(row)) != j):
            gap = p[mine, other] - p[mine, j]
            flagged[mine[np.argsort(-gap, kind="stable")[: row[other]]]] = True
    return flagged
