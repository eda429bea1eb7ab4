"""What predictions say about denoising: pure functions of arrays, the only place that sees clean training labels."""

import numpy as np
from jaxtyping import Float, Int


def denoising(
    predicted: Int[np.ndarray, "n"], given: Int[np.ndarray, "n"], clean: Int[np.ndarray, "n"]
) -> dict[str, float]:
    """Shares of the training images, by what a trained network predicts for them.

    relabel_acc: the prediction is the clean label. kept_clean: the same among images whose given label is right.
    corrected, memorised: among images whose given label is wrong, the prediction is the clean label, or the wrong
    given one. Shares of an empty group are NaN.
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


def confusion(predicted: Int[np.ndarray, "n"], truth: Int[np.ndarray, "n"], num_classes: int) -> Int[np.ndarray, "k k"]:
    """Counts, rows the true class and columns the predicted one."""
    return np.bincount(truth * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def recall(counts: Int[np.ndarray, "k k"]) -> Float[np.ndarray, "k"]:
    """Share of each true class that is predicted as such; NaN for a class without images."""
    total = counts.sum(axis=1)
    return np.where(total > 0, np.diag(counts) / np.maximum(total, 1), np.nan)


def thirds(values: Float[np.ndarray, "k"]) -> dict[str, float]:
    """Means over the head, medium and tail third of the class index (long-tailed sets put large classes first)."""
    return {
        name: float(np.nanmean(part))
        for name, part in zip(("head", "medium", "tail"), np.array_split(values, 3), strict=True)
    }


def auc(positive: Float[np.ndarray, "n"], negative: Float[np.ndarray, "m"]) -> float:
    """The chance that a score of the first kind is above one of the second, ties counting half: 0.5 tells nothing."""
    from scipy.stats import rankdata  # takes a second to load

    n, m = len(positive), len(negative)
    ranks = rankdata(np.concatenate([positive, negative]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))
