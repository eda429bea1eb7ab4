"""Long-tailed subsets of a balanced training set."""

from typing import Annotated, Any

import numpy as np
from jaxtyping import Int

from ddjax.noise.labels import as_labels
from ddjax.ranges import Count, Range, Seed, checked

Classes = Annotated[int, Range(2)]
Ratio = Annotated[float, Range(1)]


@checked
def long_tail_counts(num_classes: Classes, ratio: Ratio, n_max: Count) -> Int[np.ndarray, "k"]:
    """The class sizes n_c = int(n_max ratio^(-c / (k - 1))) of Cui et al. 2019 and LDAM, truncated and not rounded.

    Example:
      >>> long_tail_counts(3, 100.0, 1000).tolist()
      [1000, 100, 10]
    """
    return np.array([int(n_max * ratio ** (-c / (num_classes - 1))) for c in range(num_classes)], np.int64)


@checked
def long_tail(
    labels: Any, ratio: Ratio, n_max: Count | None = None, seed: Seed = 0, num_classes: Classes | None = None
) -> Int[np.ndarray, "m"]:
    """Choose a long-tailed subset by *clean* label. Add label noise to the subset afterwards.

    One legacy random stream shuffles the positions of class 0, 1, ... in turn, and the first n_c of each are kept.

    Args:
      labels: clean labels.
      ratio: of the largest class to the smallest class.
      n_max: size of class 0; by default that of the largest class.
      seed: of the stream.
      num_classes: by default one more than the largest label.

    Returns:
      The positions, ascending.

    Raises:
      ValueError: a class has too few examples.

    Example:
      >>> len(long_tail(np.arange(30) % 3, 10.0))
      14
    """
    if num_classes is None:
        num_classes = int(np.max(labels)) + 1
    labels = as_labels(labels, num_classes)
    sizes = np.bincount(labels, minlength=num_classes)
    counts = long_tail_counts(num_classes, ratio, int(sizes.max()) if n_max is None else n_max)
    short = np.flatnonzero(counts > sizes)
    if short.size:
        c = short[0]
        raise ValueError(f"class {c} has {sizes[c]} examples, but the long tail needs {counts[c]}; lower n_max")
    stream = np.random.RandomState(seed)
    kept = []
    for c, count in enumerate(counts):
        members = np.flatnonzero(labels == c)
        stream.shuffle(members)
        kept.append(members[:count])
    return np.sort(np.concatenate(kept))
