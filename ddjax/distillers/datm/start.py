"""The start of DATM: images that experts predict as labelled, with the experts' logits as labels."""

import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ddjax.distillers.datm.config import DatmConfig
from ddjax.distillers.shared.start import (
    check_class_sizes,
    first_of_each_class,
    rows_by_class,
    slot_labels,
    uniform_by_id,
)
from ddjax.experts import Trajectories
from ddjax.names import few_counts
from ddjax.rows import by_rows
from ddjax.training import stacked_logits
from ddjax.trees import record
from ddjax.types import Model, PRNGKey, TrainSet

log = logging.getLogger("ddjax.datm")


def expert_logits(model: Model, experts: Trajectories, expert: int, images: Any) -> Any:
    """Logits of an expert after its last epoch, [n k]."""
    params = experts.unravel(jnp.asarray(experts.flat(expert, experts.epochs[-1])))
    return stacked_logits(model, jax.tree.map(lambda leaf: leaf[None], params), images)[0]


def correct_rows(
    key: PRNGKey, train: TrainSet, ipc: int, right: Callable[[int], Bool[np.ndarray, "n"]], experts: int, short: str
) -> Int[np.ndarray, "m"]:
    """Rows whose given label an expert predicts, in random order: those of the first expert, then those of the next.

    Args:
      key: decides the order, together with the ids of the examples.
      train: the training set.
      ipc: rows per class.
      right: expert number -> whether it predicts the given label of each row; called until every class has enough.
      experts: number of experts.
      short: for a class with too few such rows, "real" fills up with other rows of the class and "error" raises.

    Returns:
      Row numbers, class-major.

    Raises:
      ValueError: a class has too few rows.
    """
    labels, k = np.asarray(train.labels), train.num_classes
    counts = check_class_sizes(labels, k, ipc)
    first_right = np.full(len(labels), experts)
    have = np.zeros(k, int)
    for expert in range(experts):
        first_right = np.where((first_right == experts) & right(expert), expert, first_right)
        have = np.bincount(labels[first_right < experts], minlength=k)
        if have.min() >= ipc:
            break
    lacking = {c: int(n) for c, n in enumerate(have) if n < ipc}
    if lacking and short == "error":
        raise ValueError(
            f"start='correct' needs ipc={ipc} images per class that one of the {experts} experts predicts as labelled; "
            f"too few are in (class: images): {few_counts(lacking)}; train the experts longer (expert_epochs), lower "
            "ipc, fill up with short_class='real', or use start='real'"
        )
    if lacking:
        some = few_counts(lacking)
        log.warning("classes filled up with real images (class: images that an expert predicts as labelled): %s", some)
    score = np.asarray(uniform_by_id(key, np.asarray(train.ids)))
    return first_of_each_class(np.lexsort((score, first_right, labels)), counts, ipc)


def mean_of_right(logits: Float[Array, "e m k"], classes: Int[Array, "m"]) -> Float[Array, "m k"]:
    """The mean logits of the experts whose prediction is the class; of all experts if there are none."""
    right = (jnp.argmax(logits, axis=2) == classes[None]).astype(logits.dtype)
    weight = jnp.where(right.sum(0, keepdims=True) > 0, right, 1.0)
    return jnp.sum(weight[:, :, None] * logits, axis=0) / weight.sum(0)[:, None]


@record(static=("space",))
class Start:
    """The first distilled images and labels, class-major, and their space."""

    images: Any  # [m h w c]
    labels: Any  # [m k]
    space: str


def begin(config: DatmConfig, key: PRNGKey, train: TrainSet, model: Model, experts: Trajectories) -> Start:
    """Choose the first images by `config.start`, and their labels.

    Noise is standard normal, as published. Learned labels start at logits of experts: for images that experts predict
    as labelled, the mean over the experts that are right; for real images, those of the first expert. Other labels are
    one-hot rows of the given classes.

    Returns:
      Images and labels.

    Raises:
      ValueError: a class has too few images.
    """
    ipc, classes, count = config.ipc, slot_labels(train.num_classes, config.ipc), len(experts.array)
    if config.start == "correct":

        def right(expert: int) -> Bool[np.ndarray, "n"]:
            logits = expert_logits(model, experts, expert, by_rows(train.images))
            return np.asarray(jnp.argmax(logits, axis=1)) == np.asarray(train.labels)

        images = by_rows(train.images)[correct_rows(key, train, ipc, right, count, config.short_class)]
    elif config.start == "real":
        images = by_rows(train.images)[rows_by_class(key, train, ipc)]
    else:
        images = jax.random.normal(key, (len(classes), *train.images.shape[1:]), train.images.dtype)
    if not config.learn_labels:
        labels = jax.nn.one_hot(classes, train.num_classes)
    elif config.start == "real":
        labels = expert_logits(model, experts, 0, images)
    else:
        logits = jnp.stack([expert_logits(model, experts, e, images) for e in range(count)])
        labels = mean_of_right(logits, classes)
    return Start(images=images, labels=labels, space=train.space)
