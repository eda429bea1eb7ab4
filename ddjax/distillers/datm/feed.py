"""Pieces of the experts' trajectories as a feed: gathered on the device, or read from the memory map a chunk ahead."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax.distillers.datm.schedule import Schedule
from ddjax.experts import Trajectories
from ddjax.trees import record
from ddjax.types import Feed, PRNGKey

RESIDENT_BYTES = 2**30  # trajectories up to this size are held on the device as a whole
_OPERATIONS = 7  # the stream of the operations that all members of a fleet share


class Segments(NamedTuple):
    """Where students start, where they should end, and what the step's drawn augmentations come from.

    The operations' key depends on the step alone, so that a vmap over seeds runs only the one that is drawn.
    """

    starts: Float[Array, "r parameters"]
    targets: Float[Array, "r parameters"]
    epochs: Int[Array, "r"]
    op_key: PRNGKey


@record()
class Resident:
    """The whole trajectories, on the device."""

    array: Any  # [experts snapshots parameters]
    snapshot_of: Any  # int32 [epochs + 1]: where an epoch lies
    key: Any


@record()
class Chunk:
    """The segments of the steps from `first` on."""

    starts: Any  # [steps r parameters]
    targets: Any
    epochs: Any  # int32 [steps r]
    first: Any  # int32 []


def _operation_key(step: Int[Array, ""]) -> PRNGKey:
    return jax.random.fold_in(jax.random.key(_OPERATIONS), step)


@functools.cache  # one function for one configuration, so that programs compiled for it are found again
def _resident(schedule: Schedule, match_epochs: int) -> Callable[[Resident, Int[Array, ""]], Segments]:
    def at(data: Resident, step: Int[Array, ""]) -> Segments:
        expert, start = schedule.draw(data.key, step)
        starts = data.array[expert, data.snapshot_of[start]]
        targets = data.array[expert, data.snapshot_of[start + match_epochs]]
        return Segments(starts.astype(jnp.float32), targets.astype(jnp.float32), start, _operation_key(step))

    return at


def _streamed(data: Chunk, step: Int[Array, ""]) -> Segments:
    row = step - data.first
    starts, targets = (x[row].astype(jnp.float32) for x in (data.starts, data.targets))
    return Segments(starts, targets, data.epochs[row], _operation_key(step))


@functools.cache
def _draws(schedule: Schedule) -> Callable:
    return jax.jit(jax.vmap(schedule.draw, (None, 0)))


def segment_feed(experts: Trajectories, schedule: Schedule, match_epochs: int, key: PRNGKey) -> Feed:
    """The segments of every step, the same whether they are gathered on the device or read ahead."""
    snapshot_of = np.full(max(experts.epochs) + 1, -1, np.int32)
    snapshot_of[list(experts.epochs)] = np.arange(len(experts.epochs), dtype=np.int32)
    if experts.array.nbytes <= RESIDENT_BYTES:
        data = Resident(array=jnp.asarray(experts.array), snapshot_of=jnp.asarray(snapshot_of), key=key)
        return Feed(data, _resident(schedule, match_epochs))

    def fetch(first: int, count: int) -> Chunk:
        expert, start = (np.asarray(x) for x in _draws(schedule)(key, jnp.arange(first, first + count)))
        return Chunk(
            starts=jnp.asarray(experts.array[expert, snapshot_of[start]]),
            targets=jnp.asarray(experts.array[expert, snapshot_of[start + match_epochs]]),
            epochs=jnp.asarray(start),
            first=jnp.int32(first),
        )

    return Feed(None, _streamed, fetch)
