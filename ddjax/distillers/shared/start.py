"""The start of a distilled set: real images of each given class, or noise, with the labels of their slots."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax.distilled import DistilledSet
from ddjax.names import check_known, few, few_counts
from ddjax.ranges import Count, Natural, checked
from ddjax.rows import by_rows
from ddjax.types import PRNGKey, TrainSet

STARTS = ("real", "noise")
NOISE_SCALE = 0.3  # of RCIG and FRePo
TOO_FEW = "lower ipc, take more training images, or set start='noise' if the method has that option"
Targets = Callable[[Int[Array, "m"], int], Float[Array, "m k"]]


def uniform_by_id(key: PRNGKey, ids: Int[Any, "n"]) -> Float[Array, "n"]:
    """A uniform number for each example, a function of (key, id): the order of the examples does not matter."""
    return jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))(ids)


def check_class_sizes(labels: Any, num_classes: int, ipc: int, advice: str = TOO_FEW) -> Int[np.ndarray, "k"]:
    """Check that each given class has images, and `ipc` of them.

    Args:
      labels: the given labels.
      num_classes: number of classes.
      ipc: images needed per class.
      advice: the end of the error message for classes that are too small.

    Returns:
      The number of images of each class.

    Raises:
      ValueError: a class is empty or has fewer images; the message names these classes.
    """
    if ipc < 1:
        raise ValueError(f"ipc must be at least 1; got {ipc}")
    counts = np.bincount(np.asarray(labels), minlength=num_classes)
    if empty := np.flatnonzero(counts == 0).tolist():
        raise ValueError(
            f"no training image has one of these classes as its given label: [{few(empty)}]; take more training "
            "images, reduce the noise rate, or leave these classes out"
        )
    if short := {c: int(n) for c, n in enumerate(counts) if n < ipc}:
        raise ValueError(
            f"ipc={ipc} is more than these classes hold (class: images with that given label): {few_counts(short)}; "
            f"{advice}"
        )
    return counts


def first_of_each_class(order: Int[np.ndarray, "n"], counts: Int[np.ndarray, "k"], ipc: int) -> Int[np.ndarray, "m"]:
    """The first `ipc` rows of each class, class-major; `order` holds all rows sorted by class."""
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return order[(first[:, None] + np.arange(ipc)).ravel()]


def rows_by_class(key: PRNGKey, train: TrainSet, ipc: int, first_rows: int = 0) -> Int[np.ndarray, "m"]:
    """Draw `ipc` rows of each given class uniformly without replacement.

    Args:
      key: decides the draw, together with the ids of the examples: the order of the set does not matter.
      train: the training set.
      ipc: rows per class.
      first_rows: draw from this many first rows only, as published code does with a shuffle buffer; 0 takes all.

    Returns:
      Row numbers, class-major.

    Raises:
      ValueError: a class has fewer rows; the message names these classes.
    """
    counts, end = check_class_sizes(train.labels, train.num_classes, ipc), first_rows or len(train.labels)
    labels, ids = np.asarray(train.labels)[:end], np.asarray(train.ids)[:end]
    if first_rows:
        counts = np.bincount(labels, minlength=train.num_classes)
        if short := np.flatnonzero(counts < ipc).tolist():
            raise ValueError(
                f"the first_rows={first_rows} first images hold fewer than ipc={ipc} of these classes: [{few(short)}]; "
                "raise first_rows, or draw from all images with first_rows=0"
            )
    return first_of_each_class(np.lexsort((np.asarray(uniform_by_id(key, ids)), labels)), counts, ipc)


def slot_labels(num_classes: int, ipc: int) -> Int[Array, "m"]:
    """The class of each slot: slot `c * ipc + i` belongs to class c."""
    return jnp.repeat(jnp.arange(num_classes, dtype=jnp.int32), ipc, total_repeat_length=ipc * num_classes)


@checked
def start_set(
    key: PRNGKey,
    train: TrainSet,
    ipc: Count,
    start: str = "real",
    first_rows: Natural = 0,
    targets: Targets | None = None,
) -> DistilledSet:
    """The first distilled set: slot `c * ipc + i` belongs to given class c.

    Args:
      key: decides which images are drawn.
      train: the training set, in the space in which images are learned.
      ipc: images per class.
      start: "real" (training images of the class) or "noise".
      first_rows: see `rows_by_class`.
      targets: (labels, num_classes) -> regression targets; None keeps class numbers.

    Returns:
      Images and labels in the space of `train`.

    Raises:
      ValueError: `start` is unknown, a number is out of range, or a class has too few images.

    Example:
      >>> import jax
      >>> from ddjax.testing import toy_train
      >>> start_set(jax.random.key(0), toy_train(num_classes=3), ipc=2).labels.tolist()
      [0, 0, 1, 1, 2, 2]
    """
    check_known("start", start, STARTS)
    labels = slot_labels(train.num_classes, ipc)
    if start == "noise":
        images = NOISE_SCALE * jax.random.normal(key, (len(labels), *train.images.shape[1:]), train.images.dtype)
    else:
        images = by_rows(train.images)[rows_by_class(key, train, ipc, first_rows)]
    return DistilledSet(
        images=images,
        labels=labels if targets is None else targets(labels, train.num_classes).astype(images.dtype),
        num_classes=train.num_classes,
        label_kind="hard" if targets is None else "regression",
        space=train.space,
    )


def learned_fields(distilled: DistilledSet, labels: bool) -> dict[str, Array]:
    """The fields that gradients update: the images, and optionally the labels."""
    images = {"images": distilled.images}
    return images | {"labels": distilled.labels} if labels else images
