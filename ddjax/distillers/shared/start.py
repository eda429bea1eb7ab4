"""What a method of learned images starts from: real images of each given class, or noise."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax.names import few_counts, unknown
from ddjax.types import PRNGKey, TrainSet

STARTS = ("real", "noise")
NOISE_SCALE = 0.3


def enough(labels: Any, num_classes: int, ipc: int) -> Int[np.ndarray, "k"]:
    """How many images each given class holds, which must be `ipc` at least."""
    if ipc < 1:
        raise ValueError(f"ipc must be at least 1; got {ipc}")
    counts = np.bincount(np.asarray(labels), minlength=num_classes)
    if short := {c: int(n) for c, n in enumerate(counts) if n < ipc}:
        raise ValueError(
            f"ipc={ipc} images per class are more than these classes hold by their given labels (class: images): "
            f"{few_counts(short)}; lower ipc, take more training images, or start from noise"
        )
    return counts


def rows_by_class(key: PRNGKey, train: TrainSet, ipc: int, first_rows: int = 0) -> Int[np.ndarray, "m"]:
    """`ipc` rows of each given class, class-major, drawn uniformly without replacement.

    A row's chance depends on its id alone, so the order of the set does not matter. `first_rows` looks at the first
    rows only, as published code does, which reads no further than a shuffle buffer.
    """
    end = first_rows or len(train.labels)
    labels, ids = np.asarray(train.labels)[:end], np.asarray(train.ids)[:end]
    counts = enough(labels, train.num_classes, ipc)
    score = np.asarray(jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))(ids))
    order = np.lexsort((score, labels))
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return order[(first[:, None] + np.arange(ipc)).ravel()]


def start_images(
    key: PRNGKey, train: TrainSet, ipc: int, start: str = "real", first_rows: int = 0
) -> Float[Array, "m h w c"]:
    """The first distilled images: slot `c * ipc + i` is of given class c."""
    if start == "noise":
        shape: Any = (ipc * train.num_classes, *train.images.shape[1:])
        return NOISE_SCALE * jax.random.normal(key, shape)
    if start != "real":
        raise unknown("start", start, STARTS)
    return jax.numpy.asarray(train.images)[rows_by_class(key, train, ipc, first_rows)]
