"""Fleets: runs that differ only in their arrays (labels, keys) as one program over a leading axis of members."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
from jax.sharding import NamedSharding, PartitionSpec

from ddjax import trees
from ddjax.backend import compiler_options
from ddjax.execution.devices import PARTS, dividing, mesh_of
from ddjax.execution.guard import watch
from ddjax.execution.reading import read_ahead
from ddjax.types import Distiller, Feed, Metrics, PRNGKey

T = TypeVar("T")
Axes = tuple[int | None, ...]  # for each leaf of a tree: 0 if members have their own, None if all share one


def per_member(value: T | Sequence[T], count: int, argument: str) -> list[T]:
    """An entry for each member: those of a list or a tuple, or a single value repeated.

    Raises:
      ValueError: the list has another length.

    Example:
      >>> per_member(0, 2, "seed"), per_member((3, 4), 2, "seed")
      ([0, 0], [3, 4])
    """
    values = list(value) if isinstance(value, list | tuple) else [value] * count
    if len(values) != count:
        raise ValueError(f"{argument} must be one value or a list of {count}; got a list of {len(values)}")
    return values


def init_members(distiller: Distiller, keys: list[PRNGKey], starts: list[Any]) -> Any:
    """The initial states of several members, stacked along a leading axis.

    Args:
      distiller: of all members.
      keys: one for each member.
      starts: one for each member, all of the same shapes. A leaf that is the same array in every member is stored once.

    Returns:
      A state for `distill` with a list of feeds, sharded over the local devices that divide the members.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ddjax import Distiller
      >>> def init(key, start):
      ...     return {"value": start, "step": jnp.int32(0)}
      >>> keys = list(jax.random.split(jax.random.key(0), 2))
      >>> init_members(Distiller(init, None, None), keys, [jnp.float32(1), jnp.float32(2)])["value"].tolist()
      [1.0, 2.0]
    """
    if len(keys) == 1:
        return trees.stack([_alone(distiller.init, compiler_options(1))(keys[0], starts[0])])
    start, axes = join(starts)
    init = _init(distiller.init, jax.tree.structure(start), axes, compiler_options(1))
    return init(shard_members(trees.stack(keys), (0,), len(keys)), shard_members(start, axes, len(keys)))


@functools.lru_cache(maxsize=32)
def _alone(init: Callable, compiling: tuple[tuple[str, float], ...]) -> Callable:
    return jax.jit(init, compiler_options=dict(compiling))


@functools.lru_cache(maxsize=32)
def _init(init: Callable, structure: Any, axes: Axes, compiling: tuple[tuple[str, float], ...]) -> Callable:
    return jax.jit(jax.vmap(init, (0, structure.unflatten(axes))), compiler_options=dict(compiling))


watch_members = jax.jit(jax.vmap(watch))  # stacked states -> the same under guard


def join_feeds(distiller: Distiller, feeds: list[Feed]) -> tuple[Distiller, Feed]:
    """The distiller and the feed of all members together.

    A member draws its batch inside the vmapped step, so that shared data are not repeated.

    Raises:
      ValueError: the feeds differ in `at`, and their functions cannot be joined.
    """
    at, count = _common([feed.at for feed in feeds]), len(feeds)
    feeds = [read_ahead(feed._replace(at=at)) for feed in feeds]
    data, axes = join([feed.data for feed in feeds])
    feed = Feed(shard_members(data, axes, count), _with_step)
    if fetches := [each.fetch for each in feeds if each.fetch is not None]:
        read, read_axes = _stacked([fetch(0, 1) for fetch in fetches])  # for its structure
        data, axes = (data, read), axes + read_axes
        feed = feed._replace(
            fetch=lambda first, n: shard_members(*_stacked([fetch(first, n) for fetch in fetches]), count),
            most=feeds[0].most and max(1, feeds[0].most // count),
        )
    return _together(distiller, feeds[0].at, jax.tree.structure(data), axes), feed


def _common(functions: list[Callable]) -> Callable:
    """The function of all feeds: their own if they are equal, else the one that their method `joined` makes of them."""
    first, *others = functions
    if all(other == first for other in others):
        return first
    if not all(type(other) is type(first) and hasattr(other, "joined") for other in functions):
        raise ValueError("the feeds of a fleet need one function `at`: make it once for each configuration")
    return first.joined(others)


def join(members: list[Any]) -> tuple[Any, Axes]:
    """Stack the trees of all members, but keep a leaf that is the same array in each of them as it is.

    Returns:
      The joined tree, and for each leaf its axis of members (None for a shared leaf).
    """
    columns = list(zip(*(jax.tree.leaves(member) for member in members), strict=True))
    shared = [all(leaf is column[0] for leaf in column) for column in columns]
    leaves = [column[0] if same else trees.stack(list(column)) for column, same in zip(columns, shared, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(members[0]), leaves), tuple(None if same else 0 for same in shared)


def _stacked(members: list[Any]) -> tuple[Any, Axes]:
    """Stack every leaf, because which members share a leaf must not change from chunk to chunk."""
    tree = trees.stack(members)
    return tree, (0,) * len(jax.tree.leaves(tree))


def shard_members(tree: Any, axes: Axes, members: int) -> Any:
    """Shard the stacked leaves over as many local devices as divide the members, and replicate the other leaves."""
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
def _together(distiller: Distiller, at: Callable, structure: Any, axes: Axes) -> Distiller:
    """A distiller whose step advances every member."""
    data_axes = structure.unflatten(axes)

    def step(states: Any, batch: tuple[Any, jax.Array]) -> tuple[Any, Metrics]:
        everything, number = batch
        return jax.vmap(lambda s, d: distiller.step(s, at(d, number)), (0, data_axes))(states, everything)

    return distiller._replace(step=step)
