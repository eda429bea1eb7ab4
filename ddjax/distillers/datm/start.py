"""What DATM starts from: images that the experts predict as labelled, and the labels that they give them."""

import dataclasses
import functools
import logging
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ddjax.distillers.shared.prototypes import rows_by_class, start_images
from ddjax.experts import Trajectories
from ddjax.names import few_counts
from ddjax.training import predict
from ddjax.types import Images, Model, PRNGKey, TrainSet

log = logging.getLogger("ddjax.datm")


@functools.lru_cache(maxsize=16)
def _logits(model: Model, unravel: Callable) -> Callable[[Array, Images], Float[Array, "n k"]]:
    return jax.jit(lambda flat, images: predict(model, unravel(flat), images))


def expert_logits(model: Model, experts: Trajectories, expert: int, images: Images) -> Float[Array, "n k"]:
    """What an expert says of images after its last epoch."""
    return _logits(model, experts.unravel)(jnp.asarray(experts.flat(expert, experts.epochs[-1])), images)


def ranked_rows(
    first_right: Int[np.ndarray, "n"], score: Float[np.ndarray, "n"], labels: Int[np.ndarray, "n"], k: int, ipc: int
) -> Int[np.ndarray, "m"]:
    """Class-major rows, `ipc` of each class: those that an earlier expert has right first, ties by score."""
    order = np.lexsort((score, first_right, labels))
    begin = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=k))[:-1]])
    return order[(begin[:, None] + np.arange(ipc)).ravel()]


def correct_rows(
    key: PRNGKey, train: TrainSet, ipc: int, right: Callable[[int], Bool[np.ndarray, "n"]], experts: int, short: str
) -> Int[np.ndarray, "m"]:
    """Rows whose given label an expert predicts, in random order: the first expert's, then those of the next.

    `right(e)` says which rows expert e has right; no more experts are asked than every class needs. What a row's
    chance depends on is its id alone. `short="real"` fills a class that all experts leave short with other rows of
    that given label; "error" says which classes those are.
    """
    labels, k = np.asarray(train.labels), train.num_classes
    rows_by_class(key, train, ipc)  # says which classes are too small whatever the experts predict
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
            f"start='correct' finds too few images that any of the {experts} experts predicts as labelled for "
            f"ipc={ipc} (class: images): {few_counts(lacking)}; train the experts longer (expert_epochs), lower ipc, "
            "fill up with short_class='real', or use start='real'"
        )
    if lacking:
        some = few_counts(lacking)
        log.warning("classes filled up with images that no expert predicts as labelled (class: right): %s", some)
    score = np.asarray(jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))(np.asarray(train.ids)))
    return ranked_rows(first_right, score, labels, k, ipc)


def mean_of_right(logits: Float[Array, "e m k"], classes: Int[Array, "m"]) -> Float[Array, "m k"]:
    """The mean logits of those experts whose prediction is the class; of all, where none is."""
    right = (jnp.argmax(logits, axis=2) == classes[None]).astype(logits.dtype)
    weight = jnp.where(right.sum(0, keepdims=True) > 0, right, 1.0)
    return jnp.sum(weight[:, :, None] * logits, axis=0) / weight.sum(0)[:, None]


@dataclasses.dataclass(frozen=True)
class Begun:
    """The first distilled images and labels, class-major."""

    images: Images
    labels: Float[Array, "m k"]


def begin(
    key: PRNGKey, train: TrainSet, model: Model, experts: Trajectories, *, ipc: int, start: str, short: str, learn: bool
) -> Begun:
    """Images by the rule `start`; labels to be learned are experts' logits, others are one-hot rows.

    Of images predicted correctly they are the mean logits of all experts that are right, and of merely real ones the
    first expert's. Classes are those of the labels as given.
    """
    classes = jnp.repeat(jnp.arange(train.num_classes), ipc, total_repeat_length=ipc * train.num_classes)
    count = len(experts.array)
    if start == "correct":

        def right(expert: int) -> Bool[np.ndarray, "n"]:
            found = expert_logits(model, experts, expert, jnp.asarray(train.images))
            return np.asarray(jnp.argmax(found, axis=1)) == np.asarray(train.labels)

        images = jnp.asarray(train.images)[correct_rows(key, train, ipc, right, count, short)]
    else:
        images = start_images(key, train, ipc, start)
    if not learn:
        return Begun(images, jax.nn.one_hot(classes, train.num_classes))
    if start == "real":
        return Begun(images, expert_logits(model, experts, 0, images))
    logits = jnp.stack([expert_logits(model, experts, e, images) for e in range(count)])
    return Begun(images, mean_of_right(logits, classes))
