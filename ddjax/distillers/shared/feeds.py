"""Feeds that several methods share: real batches as functions of the step."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ddjax.trees import record
from ddjax.types import Feed, Images, PRNGKey, TrainSet


class Batch(NamedTuple):
    """Real images with their labels as given."""

    images: Images
    labels: Int[Array, "b"]


@record()
class FeedData:
    """The arrays a feed draws from, and the key it draws by."""

    images: Any  # [n h w c]
    labels: Any  # int32 [n]
    key: Any


def image_batches(train: TrainSet, size: int, key: PRNGKey) -> Feed:
    """`size` rows without replacement at each step, all of them where there are no more."""
    size = min(size, len(train.labels))
    data = FeedData(images=jnp.asarray(train.images), labels=jnp.asarray(train.labels), key=key)

    return Feed(data, _draw(size))


@functools.cache  # the same function for the same size, so that programs compiled for it are found again
def _draw(size: int) -> Callable[[FeedData, Int[Array, ""]], Batch]:
    def at(data: FeedData, step: Int[Array, ""]) -> Batch:
        rows = jax.random.choice(jax.random.fold_in(data.key, step), len(data.labels), (size,), replace=False)
        return Batch(data.images[rows], data.labels[rows])

    return at
