"""Per-step inputs of DANCE: real images of every class, and two networks."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax import trees
from ddjax.rows import by_rows
from ddjax.trees import record
from ddjax.types import Feed, Params, PRNGKey, TrainSet

Draw = Callable[[Any, PRNGKey], tuple[Params, Params]]  # (networks, key) -> (encoder, judge)
_ROWS, _NETWORK = range(2)  # the streams of a feed's key


class ClassBatch(NamedTuple):
    """Real images by class, and the networks of one step."""

    images: Float[Array, "k b h w c"]
    present: Float[Array, "k b"]  # 0 for padding of classes with fewer than b images
    encoder: Params  # the network in whose features means are matched
    judge: Params  # the network whose logits calibrate the images


@record()
class ClassRows:
    """The rows of a training set, sorted by given label."""

    order: Any  # int32 [n]
    first: Any  # int32 [k], the position in `order` of the first row of a class
    count: Any  # int32 [k]


@record()
class ClassData:
    """The arrays of a feed, and the key of its draws."""

    images: Any  # [n h w c], an array or a `rows.Images`
    rows: ClassRows
    networks: Any  # first argument of `draw`: a Pool, or None
    key: Any


@record()
class Pool:
    """The same networks before and after training, stacked."""

    initial: Params
    trained: Params


def sorted_rows(train: TrainSet) -> ClassRows:
    """Rows by given label; classes may differ in size."""
    labels = np.asarray(train.labels)
    count = np.bincount(labels, minlength=train.num_classes).astype(np.int32)
    return ClassRows(
        order=jnp.asarray(np.argsort(labels, kind="stable"), jnp.int32),
        first=jnp.asarray(np.cumsum(count) - count, jnp.int32),
        count=jnp.asarray(count),
    )


def batch_rows(
    key: PRNGKey, rows: ClassRows, step: Int[Array, ""], size: int, largest: int
) -> tuple[Int[Array, "k b"], Float[Array, "k b"]]:
    """Rows of each class at a step, and which of them are present.

    A pass over a class is a permutation cut into batches, the remainder left out; the next pass has another one.
    `largest` is the size of the largest class; a class of fewer than `size` images gives them all at every step.
    """
    at = jnp.arange(largest, dtype=jnp.int32)

    def one(label: Array, first: Array, count: Array) -> tuple[Array, Array]:
        batches = jnp.maximum(1, count // size)
        turn = jax.random.fold_in(jax.random.fold_in(key, label), step // batches)
        score = jnp.where(at < count, jax.random.uniform(turn, (largest,), jnp.float32), 2)
        begin = step % batches * size
        chosen = jax.lax.dynamic_slice_in_dim(jnp.argsort(score), begin, size)
        present = at[:size] < jnp.minimum(count, size)
        return rows.order[first + jnp.where(present, chosen, 0)], present.astype(jnp.float32)

    return jax.vmap(one)(jnp.arange(len(rows.count), dtype=jnp.int32), rows.first, rows.count)


def between(weight: Float[Array, ""] | float, initial: Params, trained: Params) -> Params:
    """weight * initial + (1 - weight) * trained for every parameter; a weight of 1 gives the initial network."""
    return jax.tree.map(lambda a, b: weight * a + (1 - weight) * b, initial, trained)


def drawn_pair(pool: Pool, key: PRNGKey) -> tuple[Params, Params]:
    """The networks of a step: a random point between the initial and the trained weights of a random member.

    Returns:
      The interpolated network, and the trained weights of the member.
    """
    member_key, weight_key = jax.random.split(key)
    member = jax.random.randint(member_key, (), 0, len(jax.tree.leaves(pool.initial)[0]))
    initial, trained = trees.take(pool.initial, member), trees.take(pool.trained, member)
    return between(jax.random.uniform(weight_key), initial, trained), trained


def class_batches(train: TrainSet, size: int, networks: Any, draw: Draw, key: PRNGKey) -> Feed:
    """A feed of real images by class.

    Args:
      train: the training set.
      size: real images per class and step, at most.
      networks: first argument of `draw`.
      draw: (networks, key) -> (encoder, judge).
      key: the batch and the networks of a step are functions of this key and the step.

    Returns:
      A feed of `ClassBatch`.
    """
    rows = sorted_rows(train)
    largest = int(rows.count.max())
    bound = 1 << (largest - 1).bit_length()  # a power of two: training sets with other noise share a program
    data = ClassData(images=by_rows(train.images), rows=rows, networks=networks, key=key)
    return Feed(data, ClassBatches(min(size, largest), bound, draw))


@dataclasses.dataclass(frozen=True)
class ClassBatches:
    """The batch of a step, as a function of a feed's data. Equal sizes give equal functions, and one compiled program.

    Attributes:
      size: rows of a class in a batch.
      largest: upper bound of the number of rows of a class. A larger one gives the same rows.
      draw: (networks, key) -> (encoder, judge).
    """

    size: int
    largest: int
    draw: Draw

    def __call__(self, data: ClassData, step: Int[Array, ""]) -> ClassBatch:
        """The rows and networks of this step."""
        key = jax.random.fold_in(data.key, _ROWS)
        chosen, present = batch_rows(key, data.rows, step, self.size, self.largest)
        encoder, judge = self.draw(data.networks, jax.random.fold_in(jax.random.fold_in(data.key, _NETWORK), step))
        return ClassBatch(data.images[chosen], present, encoder, judge)

    def joined(self, others: Sequence["ClassBatches"]) -> "ClassBatches":
        """One function for feeds whose classes have other sizes, as they do at another noise rate."""
        size, largest = (max(getattr(each, name) for each in (self, *others)) for name in ("size", "largest"))
        return ClassBatches(size, largest, self.draw)
