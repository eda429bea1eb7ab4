"""No distillation: the whole training set with its given labels, as the upper end of every comparison."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ddjax import ranges
from ddjax.distilled import DistilledSet
from ddjax.distillers.shared.feeds import constant
from ddjax.ranges import Natural
from ddjax.rows import as_floats
from ddjax.trees import record
from ddjax.types import Distiller, Feed, Method, Metrics, Model, PRNGKey, TrainSet


@ranges.settings()
class FullConfig:
    """No settings. Every method has `ipc`; this one ignores it."""

    ipc: Natural = 0


@record()
class FullState:
    """The training set, which does not change."""

    train: TrainSet
    step: Any  # int32 []


def build(config: FullConfig, model: Model) -> Distiller:
    """A distiller whose state holds the training set."""

    def init(key: PRNGKey, start: TrainSet) -> FullState:
        # the loop donates the state, and the caller keeps the start
        return FullState(train=jax.tree.map(jnp.copy, start), step=jnp.int32(0))

    def step(state: FullState, batch: Any) -> tuple[FullState, Metrics]:
        return dataclasses.replace(state, step=state.step + 1), {"images": jnp.float32(len(state.train.images))}

    def extract(state: FullState) -> DistilledSet:
        train = state.train
        return DistilledSet(images=train.images, labels=train.labels, num_classes=train.num_classes, space=train.space)

    return Distiller(init, step, extract)


def prepare(config: FullConfig, train: TrainSet, model: Model, key: PRNGKey) -> tuple[TrainSet, Feed]:
    """The training set with its images as floats, and a feed of no batches."""
    return dataclasses.replace(train, images=as_floats(train.images)), Feed((), constant)


METHOD = Method(
    config=FullConfig,
    prepare=prepare,
    build=build,
    steps=lambda config: 0,
)
