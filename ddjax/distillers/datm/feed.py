"""A feed of segments of the experts' trajectories, gathered on the device or read ahead from a memory map."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax.distillers.datm.schedule import Schedule
from ddjax.execution.reading import CHUNK_BYTES
from ddjax.experts import Trajectories
from ddjax.trees import record
from ddjax.types import Feed, PRNGKey

RESIDENT_BYTES = 2**30  # trajectories of up to this size are held on the device
_OPERATIONS = 7  # the seed of the operations, which all members of a fleet share


class Segments(NamedTuple):
    """Start and end weights of students, and the key of the step's augmentations.

    `op_key` depends on the step alone. Under a vmap over seeds, all members therefore draw the same operation and only
    that one runs.
    """

    starts: Float[Array, "r parameters"]
    targets: Float[Array, "r parameters"]
    epochs: Int[Array, "r"]
    op_key: PRNGKey


@record()
class Resident:
    """All trajectories, on the device."""

    array: Any  # [experts snapshots parameters]
    snapshot_of: Any  # int32 [epochs + 1], the index of an epoch's snapshot
    key: Any


@record()
class Chunk:
    """The segments of a range of steps that starts at `first`."""

    starts: Any  # [steps r parameters]
    targets: Any
    epochs: Any  # int32 [steps r]
    first: Any  # int32 []


def _operation_key(step: Int[Array, ""]) -> PRNGKey:
    return jax.random.fold_in(jax.random.key(_OPERATIONS), step)


@functools.cache  # one function per configuration, so that compiled programs are reused
def _resident(schedule: Schedule, match_epochs: int) -> Callable[[Resident, Int[Array, ""]], Segments]:
    def at(data: Resident, step: Int[Array, ""]) -> Segments:
        expert, start = schedule.draw(data.key, step)
        starts = data.array[expert, data.snapshot_of[start]]
        targets = data.array[expert, data.snapshot_of[start + match_epochs]]
        return Segments(starts.astype(jnp.float32), targets.astype(jnp.float32), start, _operation_key(step))

    return at


def _streamed(data: tuple[None, Chunk], step: Int[Array, ""]) -> Segments:
    _, data = data
    row = step - data.first
    starts, targets = (x[row].astype(jnp.float32) for x in (data.starts, data.targets))
    return Segments(starts, targets, data.epochs[row], _operation_key(step))


@functools.cache
def _draws(schedule: Schedule) -> Callable:
    return jax.jit(jax.vmap(schedule.draw, (None, 0)))


def segment_feed(experts: Trajectories, schedule: Schedule, match_epochs: int, key: PRNGKey) -> Feed:
    """The segments of every step; they do not depend on where the trajectories are held.

    Args:
      experts: the trajectories.
      schedule: draws expert and start epoch of each step.
      match_epochs: epochs between the two ends of a segment.
      key: the key of the draws.

    Returns:
      A feed of `Segments`. Trajectories larger than `RESIDENT_BYTES` stay on the host and are read ahead in chunks of
      at most `CHUNK_BYTES`.
    """
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

    size = 2 * schedule.segments * experts.array[0, 0].nbytes  # of one step
    return Feed(None, _streamed, fetch, max(1, CHUNK_BYTES // size))
