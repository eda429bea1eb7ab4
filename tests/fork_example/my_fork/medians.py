"""A distiller from outside: each image drifts to the geometric median of the real images nearest to it.

A median gives way less to images of other classes, which wrong labels bring in, than a mean does.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ddjax import DistilledSet, Distiller, Feed, Method, TrainSet
from ddjax.distillers.shared.feeds import Batch, image_batches
from ddjax.distillers.shared.prototypes import start_images


@dataclasses.dataclass(frozen=True)
class MediansConfig:
    """Defaults that run; each field is a flag (`--options rate=0.1`)."""

    ipc: int = 1
    steps: int = 100
    batch: int = 128
    rate: float = 0.5  # of a step down the mean distance to the real images


class MediansState(NamedTuple):
    """All that changes. No key: nothing is drawn but the batches, which are the feed's."""

    distilled: DistilledSet
    step: jax.Array  # int32 [], the steps taken; every state has this field


def prepare(config: MediansConfig, train: TrainSet, model, key) -> tuple[DistilledSet, Feed]:
    """Real images of each given class, and batches of all real images."""
    start_key, feed_key = jax.random.split(key)
    labels = jnp.repeat(jnp.arange(train.num_classes, dtype=jnp.int32), config.ipc)
    images = start_images(start_key, train, config.ipc)
    start = DistilledSet(images=images, labels=labels, num_classes=train.num_classes, space=train.space)
    return start, image_batches(train, config.batch, feed_key)


def build(config: MediansConfig, model) -> Distiller:
    """Three pure functions."""

    def loss(images, labels, batch: Batch):
        apart = jnp.sum((batch.images[:, None] - images[None]) ** 2, (2, 3, 4))  # [b m]
        apart = jnp.sqrt(apart + 1e-6)
        nearest = jnp.min(jnp.where(batch.labels[:, None] == labels[None], apart, jnp.inf), axis=1)
        return jnp.mean(nearest)

    def init(key, start: DistilledSet) -> MediansState:
        return MediansState(jax.tree.map(jnp.copy, start), step=jnp.int32(0))

    def step(state: MediansState, batch: Batch):
        distilled = state.distilled
        value, gradient = jax.value_and_grad(loss)(distilled.images, distilled.labels, batch)
        images = distilled.images - config.rate * len(distilled.images) * gradient
        after = MediansState(dataclasses.replace(distilled, images=images), state.step + 1)
        return after, {"distance": value}

    return Distiller(init, step, extract=lambda state: state.distilled)


METHOD = Method(
    config=MediansConfig,
    prepare=prepare,
    build=build,
    steps=lambda config: config.steps,
    split=("images", "labels"),
)
