"""One run over several devices, also of several hosts: named fields of each batch are split, the rest is everywhere.

Nothing in a method knows of it. The compiler follows the split through the step: what is computed from a part of a
batch is computed where that part is, and sums over all parts become collectives.
"""

import functools
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ddjax.execution.devices import PARTS, local, through_host
from ddjax.execution.devices import mesh_of as mesh_of
from ddjax.execution.guard import PATIENCE
from ddjax.execution.loop import Report, distill
from ddjax.storage.checkpoints import Checkpoints
from ddjax.types import Distiller, Feed, Metrics

DEPTH = 2  # leading axes of a batch that may be split: segments, classes or images; then images of a class


def distill_over(
    mesh: Mesh,
    distiller: Distiller,
    feed: Feed,
    state: Any,
    *,
    split: tuple[str, ...],
    steps: int,
    report: Report | None = None,
    checkpoints: Checkpoints | None = None,
    patience: int = PATIENCE,
) -> tuple[Any, dict[str, np.ndarray]]:
    """`loop.distill` with the fields `split` of each batch over the mesh; the state comes back as a local one.

    Every process calls this with the same arguments, which it does where it was given the same seed and data.
    """
    distiller, at = _over(mesh, distiller, feed.at, split)
    fetch = feed.fetch and (lambda first, count, read=feed.fetch: everywhere(mesh, read(first, count)))
    feed = Feed(everywhere(mesh, feed.data), at, fetch)
    state = everywhere(mesh, state)
    state, log = distill(distiller, feed, state, steps=steps, report=report, checkpoints=checkpoints, patience=patience)
    return local(state), log


@functools.lru_cache(maxsize=16)  # the same functions for the same method, so that its programs are found again
def _over(mesh: Mesh, distiller: Distiller, at: Any, split: tuple[str, ...]) -> tuple[Distiller, Any]:
    whole = NamedSharding(mesh, PartitionSpec())

    def split_at(data: Any, step: jax.Array) -> Any:
        return spread(mesh, at(data, step), split)

    def step(state: Any, batch: Any) -> tuple[Any, Metrics]:
        return jax.lax.with_sharding_constraint(distiller.step(state, batch), whole)

    return distiller._replace(step=step), split_at


def spread(mesh: Mesh, batch: Any, split: tuple[str, ...]) -> Any:
    """Inside jit: the named fields of a batch split along the first axis that all of them can be split along."""
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


def everywhere(mesh: Mesh, tree: Any) -> Any:
    """The whole tree on each device; every process has the same one."""
    whole = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda leaf: through_host(leaf, lambda array: jax.device_put(array, whole)), tree)
