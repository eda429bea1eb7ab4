"""Columns of a row by class: recall, confusion, and how far structured noise was learned."""

from typing import Any

import numpy as np
from jaxtyping import Int

from ddjax.evaluation.measures import confusion, recall

MOST = 20  # rows have a confusion matrix for up to this number of classes; 200 classes would have 40,000 entries


def by_class(
    counts: Int[np.ndarray, "k k"], given: Int[np.ndarray, "n"], clean: Int[np.ndarray, "n"], names: tuple[str, ...]
) -> dict[str, Any]:
    """The columns about classes.

    Returns:
      The columns. `class_counts` counts training images by their clean labels, so that long tails are visible.
    """
    return {
        "class_names": list(names),
        "class_counts": np.bincount(clean, minlength=len(counts)).tolist(),
        "recall": recall(counts).tolist(),
        "confusion": counts.tolist() if len(counts) <= MOST else None,
        "absorbed": absorbed(counts, flip_targets(given, clean, len(counts))),
    }


def flip_targets(given: Int[np.ndarray, "n"], clean: Int[np.ndarray, "n"], num_classes: int) -> dict[int, int]:
    """Source class -> the class of more than half of its wrong labels; empty for noise without structure."""
    wrong = given != clean
    pairs = confusion(given[wrong], clean[wrong], num_classes)
    return {c: int(row.argmax()) for c, row in enumerate(pairs) if 2 * row.max() > row.sum() > 0}


def absorbed(counts: Int[np.ndarray, "k k"], targets: dict[int, int]) -> float | None:
    """Mean over source classes of the share of test images that are predicted as the target class of the noise."""
    if not targets:
        return None
    sources = list(targets)
    return float(np.mean(counts[sources, [targets[c] for c in sources]] / np.maximum(counts[sources].sum(axis=1), 1)))
