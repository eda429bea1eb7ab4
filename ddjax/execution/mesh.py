"""One run over several devices, also of several hosts: named fields of each batch are sharded, the rest is replicated.

Methods do not need to know about the mesh. The compiler propagates the sharding of the batch through the step, and
turns sums over shards into collectives.
"""

import functools
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ddjax.execution.devices import PARTS, local, through_host
from ddjax.execution.devices import mesh_of as mesh_of
from ddjax.execution.distill import distill
from ddjax.execution.loop import Log
from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.execution.reading import read_ahead
from ddjax.names import check_known
from ddjax.types import Distiller, Feed, Metrics

DEPTH = 2  # number of leading axes of a batch that can be sharded: segments, classes or images; then images of a class


def distill_over(
    mesh: Mesh,
    distiller: Distiller,
    feed: Feed,
    state: Any,
    *,
    split: tuple[str, ...],
    steps: int,
    options: RunOptions = DEFAULTS,
) -> tuple[Any, Log]:
    """Run `distill` with some fields of each batch sharded over a mesh.

    Every process calls this function with the same arguments.

    Args:
      mesh: one axis of devices, see `mesh_of`.
      distiller, feed, state, steps, options: as in `distill`.
      split: the fields of a batch to shard; a method names them in `Method.split`.

    Returns:
      The last state on this process's first device, and each metric of every step.

    Raises:
      ValueError: `split` is empty, or the number of devices divides none of the first axes of these fields.
      Diverged: as in `distill`.
    """
    feed = read_ahead(feed)
    distiller, at = _over(mesh, distiller, feed.at, split)
    fetch = feed.fetch and (lambda first, count, read=feed.fetch: replicate(mesh, read(first, count)))
    feed = Feed(replicate(mesh, feed.data), at, fetch, feed.most)
    state, log = distill(distiller, feed, replicate(mesh, state), steps=steps, options=options)
    return local(state), log


@functools.lru_cache(maxsize=16)  # the same functions for the same method, so that cached programs are found
def _over(mesh: Mesh, distiller: Distiller, at: Any, split: tuple[str, ...]) -> tuple[Distiller, Any]:
    replicated = NamedSharding(mesh, PartitionSpec())

    def sharded_at(data: Any, step: jax.Array) -> Any:
        return shard_batch(mesh, at(data, step), split)

    def step(state: Any, batch: Any) -> tuple[Any, Metrics]:
        return jax.lax.with_sharding_constraint(distiller.step(state, batch), replicated)

    return distiller._replace(step=step), sharded_at


def shard_batch(mesh: Mesh, batch: Any, split: tuple[str, ...]) -> Any:
    """Inside jit: shard the named fields of a batch along the first axis whose size the devices divide in all of them.

    Raises:
      ValueError: `split` is empty, or there is no such axis.
    """
    for name in split:
        check_known(f"field of {type(batch).__name__} in the method's split", name, batch._fields)
    fields = {name: getattr(batch, name) for name in split}
    if not fields:
        raise ValueError(f"this method names no fields of its {type(batch).__name__} that can be split over devices")
    count = mesh.size
    axis = next((a for a in range(DEPTH) if all(x.ndim > a and x.shape[a] % count == 0 for x in fields.values())), None)
    if axis is None:
        shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in fields.items())
        raise ValueError(
            f"{count} devices divide neither of the first {DEPTH} axes of {shapes}: choose a batch (of images, classes "
            "or segments) that is a multiple, or fewer devices"
        )
    where = NamedSharding(mesh, PartitionSpec(*[None] * axis, PARTS))
    return batch._replace(**{name: jax.lax.with_sharding_constraint(x, where) for name, x in fields.items()})


def replicate(mesh: Mesh, tree: Any) -> Any:
    """The whole tree on each device of the mesh; every process must hold the same tree."""
    replicated = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda leaf: through_host(leaf, lambda array: jax.device_put(array, replicated)), tree)
