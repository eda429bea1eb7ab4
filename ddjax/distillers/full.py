"""No reduction: the whole training set with its given labels, as the end point of every comparison."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ddjax import ranges
from ddjax.distilled import DistilledSet
from ddjax.ranges import Natural
from ddjax.trees import record
from ddjax.types import Distiller, Feed, Method, Metrics, Model, PRNGKey, TrainSet


@dataclasses.dataclass(frozen=True)
class FullConfig:
    """Nothing to choose; `ipc` is there because every method has one, and is not read."""

    ipc: Natural = 0

    def __post_init__(self) -> None:
        """Refuse what is no number of images."""
        ranges.fields(self)


@record()
class FullState:
    """The training set, of which nothing changes."""

    train: TrainSet
    step: Any  # int32 []


def build(config: FullConfig, model: Model) -> Distiller:
    """The distiller whose state holds the training set."""

    def init(key: PRNGKey, start: TrainSet) -> FullState:
        # the loop donates its state, and the start is not its to give away
        return FullState(train=jax.tree.map(jnp.copy, start), step=jnp.int32(0))

    def step(state: FullState, batch: Any) -> tuple[FullState, Metrics]:
        return dataclasses.replace(state, step=state.step + 1), {"images": jnp.float32(len(state.train.images))}

    def extract(state: FullState) -> DistilledSet:
        train = state.train
        return DistilledSet(images=train.images, labels=train.labels, num_classes=train.num_classes, space=train.space)

    return Distiller(init, step, extract)


METHOD = Method(
    config=FullConfig,
    prepare=lambda config, train, model, key: (train, Feed((), lambda data, step: data)),
    build=build,
    steps=lambda config: 0,
)
