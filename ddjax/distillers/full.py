"""No reduction: the whole training set with its given labels, as the end point of every comparison."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ddjax import ranges
from ddjax.distilled import DistilledSet
from ddjax.ranges import Natural
from ddjax.types import Distiller, Feed, Method, Metrics, Model, PRNGKey, TrainSet


@dataclasses.dataclass(frozen=True)
class FullConfig:
    """Nothing to choose; `ipc` is there because every method has one, and is not read."""

    ipc: Natural = 0

    def __post_init__(self) -> None:
        """Refuse what is no number of images."""
        ranges.fields(self)


def build(config: FullConfig, model: Model) -> Distiller:
    """The distiller whose state is the training set."""

    def step(state: TrainSet, batch: Any) -> tuple[TrainSet, Metrics]:
        return state, {"images": jnp.float32(len(state.images))}

    def extract(state: TrainSet) -> DistilledSet:
        return DistilledSet(images=state.images, labels=state.labels, num_classes=state.num_classes, space=state.space)

    def init(key: PRNGKey, start: TrainSet) -> TrainSet:
        return jax.tree.map(jnp.copy, start)  # the loop donates its state, and the start is not its to give away

    return Distiller(init, step, extract)


METHOD = Method(
    config=FullConfig,
    prepare=lambda config, train, model, key: (train, Feed((), lambda data, step: data)),
    build=build,
    steps=lambda config: 0,
)
