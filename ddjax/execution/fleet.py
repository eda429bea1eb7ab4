"""Fleets: runs that differ only in their arrays (labels, keys) as one program over a leading axis of members."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from ddjax import trees
from ddjax.execution.devices import PARTS, dividing, mesh_of
from ddjax.execution.guard import PATIENCE, SKIPPED, Diverged, attempted, broken, guarded
from ddjax.execution.loop import Log, Report, check_numbers, distill, run_guarded
from ddjax.storage.checkpoints import Checkpoints
from ddjax.types import Distiller, Feed, Metrics, PRNGKey

Axes = tuple[int | None, ...]  # for each leaf of a tree: 0 where members have their own, None where all share one


def distill_all(
    distiller: Distiller,
    feeds: list[Feed],
    starts: list[Any],
    keys: list[PRNGKey],
    *,
    steps: int,
    report: Report | None = None,
    checkpoints: Checkpoints | None = None,
    patience: int = PATIENCE,
) -> list[tuple[Any, Log] | Diverged]:
    """Run all steps for every member from its own start, feed and key, as one program.

    Several members are vmapped, and spread over the devices there are. What is one and the same array in all of them
    is held once; what feeds fetch is read for each. A member whose run is broken changes no more, and the others go on.

    Args:
      distiller: of all members.
      feeds: one for each member; they have one function `at`.
      starts: one for each member, all of the same shapes.
      keys: one for each member.
      steps: of each member.
      report: called with (steps done, steps, newest metrics, means over members).
      checkpoints: of all members together.
      patience: so many rejected updates of a member in a row end its run.

    Returns:
      For each member its last state and the metrics of all its steps, or the error that ended its run.

    Raises:
      ValueError: a number is out of range, a state has no `step`, or the feeds differ in `at`.
    """
    options = {"steps": steps, "report": report, "checkpoints": checkpoints, "patience": patience}
    if len(keys) == 1:
        state = distiller.init(keys[0], starts[0])
        return [attempted(functools.partial(distill, **options), distiller, feeds[0], state)]
    check_numbers(steps=steps, patience=patience)
    if any(feed.at is not feeds[0].at for feed in feeds):
        raise ValueError("the feeds of a fleet need one function `at`: make it once for each configuration")
    start, start_axes = join(starts)
    fetches = [feed.fetch for feed in feeds]
    if any(fetches):
        data, data_axes = _stacked([fetch(0, 1) for fetch in fetches])  # for its structure
    else:
        data, data_axes = join([feed.data for feed in feeds])
    fleet = _fleet(
        guarded(distiller, patience),
        feeds[0].at,
        (jax.tree.structure(start), start_axes),
        (jax.tree.structure(data), data_axes),
    )
    states = fleet.init(spread(trees.stack(keys), (0,), len(keys)), spread(start, start_axes, len(keys)))

    def fetch(first: int, count: int) -> Any:
        return spread(*_stacked([one(first, count) for one in fetches]), len(keys))

    feed = Feed(None, _with_step, fetch) if any(fetches) else Feed(spread(data, data_axes, len(keys)), _with_step)
    held, log = run_guarded(fleet, feed, states, **options)
    rows = np.asarray(held.in_a_row)
    found: list[tuple[Any, Log] | Diverged] = []
    for i, row in enumerate(rows.tolist()):
        state, own = trees.take(held.state, i), {name: values[:, i] for name, values in log.items()}
        if row >= patience:
            last = int(np.flatnonzero(own[SKIPPED])[-1]) + 1
            found.append(broken(f"member {i} of {len(rows)}", last, steps, patience, state))
        else:
            found.append((state, own))
    return found


def join(members: list[Any]) -> tuple[Any, Axes]:
    """One tree: a leaf that is the same array in every member as it is, the others stacked; and which is which."""
    columns = list(zip(*(jax.tree.leaves(member) for member in members), strict=True))
    shared = [all(leaf is column[0] for leaf in column) for column in columns]
    leaves = [column[0] if same else trees.stack(list(column)) for column, same in zip(columns, shared, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(members[0]), leaves), tuple(None if same else 0 for same in shared)


def _stacked(members: list[Any]) -> tuple[Any, Axes]:
    """What was read for each member, stacked: which members share what must not change from chunk to chunk."""
    tree = trees.stack(members)
    return tree, (0,) * len(jax.tree.leaves(tree))


def spread(tree: Any, axes: Axes, members: int) -> Any:
    """The tree with its stacked leaves split over as many devices as divide the members, the others on each."""
    devices = dividing(members)
    if len(devices) == 1:
        return tree
    mesh = mesh_of(devices)
    leaves, structure = jax.tree.flatten(tree)
    specs = [PartitionSpec() if axis is None else PartitionSpec(PARTS) for axis in axes]
    return structure.unflatten(
        [jax.device_put(leaf, NamedSharding(mesh, spec)) for leaf, spec in zip(leaves, specs, strict=True)]
    )


def _with_step(data: Any, step: jax.Array) -> tuple[Any, jax.Array]:
    return data, step


@functools.lru_cache(maxsize=32)
def _fleet(distiller: Distiller, at: Callable, start: tuple[Any, Axes], data: tuple[Any, Axes]) -> Distiller:
    """The distiller of all members; a member draws its batch inside, so that shared data are never repeated."""
    start_axes, data_axes = (structure.unflatten(axes) for structure, axes in (start, data))

    def step(states: Any, batch: tuple[Any, jax.Array]) -> tuple[Any, Metrics]:
        everything, number = batch
        return jax.vmap(lambda s, d: distiller.step(s, at(d, number)), (0, data_axes))(states, everything)

    return Distiller(jax.jit(jax.vmap(distiller.init, (0, start_axes))), step, distiller.extract)
