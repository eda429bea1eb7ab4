"""Measures of predictions as pure functions of arrays; some of them take the clean training labels."""

import numpy as np
from jaxtyping import Float, Int, Integer


def denoising(
    predicted: Int[np.ndarray, "n"], given: Int[np.ndarray, "n"], clean: Int[np.ndarray, "n"]
) -> dict[str, float]:
    """How a trained network treats the wrong labels of its training images.

    Returns:
      relabel_acc: share of images whose prediction is the clean label. kept_clean: the same among images with a right
      given label. corrected and memorised: shares of the images with a wrong given label whose prediction is the clean
      label, or the given one. The share of an empty group is NaN.

    Example:
      >>> denoising(np.array([0, 1]), np.array([0, 0]), np.array([0, 1]))["corrected"]
      1.0
    """
    wrong, right = given != clean, given == clean

    def share(condition: np.ndarray, among: np.ndarray) -> float:
        return float(condition[among].mean()) if among.any() else float("nan")

    return {
        "relabel_acc": float((predicted == clean).mean()),
        "kept_clean": share(predicted == clean, right),
        "corrected": share(predicted == clean, wrong),
        "memorised": share(predicted == given, wrong),
    }


def confusion(
    predicted: Integer[np.ndarray, "n"], truth: Integer[np.ndarray, "n"], num_classes: int
) -> Int[np.ndarray, "k k"]:
    """The confusion matrix: rows are true classes, columns predicted ones."""
    cell = truth.astype(np.int64) * num_classes + predicted  # labels may be bytes, which would overflow
    return np.bincount(cell, minlength=num_classes**2).reshape(num_classes, num_classes)


def recall(counts: Int[np.ndarray, "k k"]) -> Float[np.ndarray, "k"]:
    """The recall of each class; NaN for a class without images."""
    total = counts.sum(axis=1)
    return np.where(total > 0, np.diag(counts) / np.maximum(total, 1), np.nan)


def thirds(values: Float[np.ndarray, "k"]) -> dict[str, float]:
    """Means over the first, second and last third of the classes (long-tailed sets put large classes first).

    Classes whose value is NaN do not count. The mean of a third without other classes is NaN.
    """
    return {
        name: float(np.nanmean(part)) if np.isfinite(part).any() else float("nan")
        for name, part in zip(("head", "medium", "tail"), np.array_split(values, 3), strict=True)
    }


def auc(positive: Float[np.ndarray, "n"], negative: Float[np.ndarray, "m"]) -> float:
    """The probability that a positive score exceeds a negative one; ties count half, and 0.5 is chance."""
    from scipy.stats import rankdata  # takes a second to load

    n, m = len(positive), len(negative)
    ranks = rankdata(np.concatenate([positive, negative]).astype(np.float64))  # half precision cannot hold large ranks
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def smoothed(curve: Float[np.ndarray, "s epochs"], width: int) -> Float[np.ndarray, "s epochs"]:
    """Mean over a centred window that is shorter at the ends, so that no single lucky epoch is picked."""
    size = curve.shape[1]
    windows = [slice(max(0, e - width // 2), min(size, e + width // 2 + 1)) for e in range(size)]
    return np.stack([curve[:, window].mean(axis=1) for window in windows], axis=1)
