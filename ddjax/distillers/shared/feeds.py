"""Feeds that several methods share: real batches as functions of the step."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ddjax.ranges import Count, checked
from ddjax.rows import by_rows
from ddjax.shuffle import distinct
from ddjax.trees import record
from ddjax.types import Feed, Images, PRNGKey, TrainSet


class Batch(NamedTuple):
    """Real images with their given labels."""

    images: Images
    labels: Int[Array, "b"]


@record()
class FeedData:
    """The arrays of a feed, and the key of its draws."""

    images: Any  # [n h w c], an array or a `rows.Images`
    labels: Any  # int32 [n]
    key: Any


@checked
def image_batches(train: TrainSet, batch: Count, key: PRNGKey) -> Feed:
    """A feed of random batches.

    Args:
      train: the training set.
      batch: images per batch, at most; all images if there are fewer.
      key: the batch of a step is a function of this key and the step.

    Returns:
      A feed of `Batch`, drawn without replacement in each step.

    Raises:
      ValueError: `batch` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ddjax.testing import toy_train
      >>> feed = image_batches(toy_train(), 4, jax.random.key(0))
      >>> feed.at(feed.data, jnp.int32(0)).images.shape
      (4, 8, 8, 3)
    """
    data = FeedData(images=by_rows(train.images), labels=jnp.asarray(train.labels), key=key)
    return Feed(data, _draw(min(batch, len(train.labels))))


@functools.cache  # one function per size, so that compiled programs are reused
def _draw(size: int) -> Callable[[FeedData, Int[Array, ""]], Batch]:
    def at(data: FeedData, step: Int[Array, ""]) -> Batch:
        rows = distinct(jax.random.fold_in(data.key, step), len(data.labels), size)
        return Batch(data.images[rows], data.labels[rows])

    return at


def constant(data: Any, step: Int[Array, ""]) -> Any:
    """The whole data in every step."""
    return data
