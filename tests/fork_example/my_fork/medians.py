"""A distiller from outside: each image moves to the geometric median of the real images that are nearest to it.

A median depends less than a mean on images of other classes, which wrong labels bring in.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ddjax import DistilledSet, Distiller, Method
from ddjax.distillers.shared.feeds import image_batches
from ddjax.distillers.shared.start import start_set


@dataclasses.dataclass(frozen=True)
class MediansConfig:
    """The defaults must run; each field is an option of the command line (`--options rate=0.1`)."""

    ipc: int = 1
    steps: int = 100
    batch: int = 128
    rate: float = 0.5  # of a gradient step on the mean distance to the real images


class MediansState(NamedTuple):
    """Everything that changes between steps. There is no key: only the feed draws random numbers."""

    distilled: DistilledSet
    step: jax.Array  # int32 [], steps taken; every state has this field


def prepare(config, train, model, key):
    """Real images of each given class, and random batches of all real images."""
    start_key, feed_key = jax.random.split(key)
    return start_set(start_key, train, config.ipc), image_batches(train, config.batch, feed_key)


def build(config, model):
    """The three pure functions."""

    def loss(images, labels, batch):
        apart = jnp.sum((batch.images[:, None] - images[None]) ** 2, (2, 3, 4))  # [b m]
        apart = jnp.sqrt(apart + 1e-6)
        return jnp.mean(jnp.min(jnp.where(batch.labels[:, None] == labels[None], apart, jnp.inf), axis=1))

    def init(key, start):
        copied = jax.tree.map(jnp.copy, start)  # the loop overwrites the arrays of the state
        return MediansState(copied, step=jnp.int32(0))

    def step(state, batch):
        distilled = state.distilled
        value, gradient = jax.value_and_grad(loss)(distilled.images, distilled.labels, batch)
        images = distilled.images - config.rate * len(distilled.images) * gradient
        return MediansState(dataclasses.replace(distilled, images=images), state.step + 1), {"distance": value}

    return Distiller(init, step, extract=lambda state: state.distilled)


METHOD = Method(config=MediansConfig, prepare=prepare, build=build, split=("images", "labels"))
