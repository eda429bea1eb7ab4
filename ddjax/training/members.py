"""One function over many members: vectorised or in sequence, and divided among devices."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec

from ddjax.backend import target
from ddjax.execution.devices import PARTS, mesh_of
from ddjax.names import check_known
from ddjax.rows import Images
from ddjax.training.batches import Examples

Watch = dict[str, tuple[Any, dict[str, Any]]]  # name -> (images, {metric: labels}), on host or device

HOWS = ("auto", "map", "vmap")


def settled(how: str) -> str:
    """The way in which members run: "map" (one after the other) or "vmap" (vectorised).

    Args:
      how: one of both, or "auto": "map" on a CPU, where vectorising gains nothing and holds the activations of all
        members at once, and "vmap" elsewhere.

    Raises:
      ValueError: `how` is unknown.
    """
    check_known("how", how, HOWS)
    return how if how != "auto" else "map" if target() == "cpu" else "vmap"


def over_members(function: Callable, how: str = "auto") -> Callable:
    """The function over a leading axis of members.

    Args:
      function: of (member, *shared).
      how: see `settled`; "map" runs members in sequence in the same program.

    Returns:
      The function of (members, *shared).

    Raises:
      ValueError: `how` is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddjax.training import over_members
      >>> over_members(lambda x, y: x + y)(jnp.arange(3), 10).tolist()
      [10, 11, 12]
    """
    if settled(how) == "vmap":
        return lambda members, *shared: jax.vmap(lambda m: function(m, *shared))(members)
    return lambda members, *shared: jax.lax.map(lambda m: function(m, *shared), members)


def over_devices(function: Callable, how: str, devices: int, shared: int) -> Callable:
    """`over_members` with the members divided among the first devices of this process.

    Args:
      function: of (member, *shared).
      how: see `over_members`.
      devices: their number, which divides the number of members.
      shared: number of `shared` arguments, which are replicated on every device.

    Returns:
      The function of (members, *shared).

    Raises:
      ValueError: `how` is unknown.
    """
    own = over_members(function, how)
    if devices == 1:
        return own
    mesh, split, replicated = mesh_of(jax.local_devices()[:devices]), PartitionSpec(PARTS), PartitionSpec()
    return jax.shard_map(own, mesh=mesh, in_specs=(split, *[replicated] * shared), out_specs=split, check_vma=False)


def with_examples(function: Callable, how: str, devices: int, shared: int) -> Callable:
    """`function(own, examples, watch, *shared)` over members, each with its own examples where it has some.

    Args:
      function: of the arrays of one member, its examples and watched images, and `shared` further arguments.
      how, devices: see `over_devices`.
      shared: number of further arguments, which are the same for all members.
    """

    def run(own: Any, examples: Examples, watch: Watch, *constants: Any) -> Any:
        mine, rest, join = members_own(examples, watch)

        def member(pair: tuple[Any, list[Any]], rest: list[Any], *constants: Any) -> Any:
            return function(pair[0], *join(pair[1], rest), *constants)

        return over_devices(member, how, devices, 1 + shared)((own, mine), rest, *constants)

    return run


def members_own(examples: Examples, watch: Watch) -> tuple[list[Any], list[Any], Callable]:
    """The leaves with a leading axis of members, the shared leaves, and a function that joins a member's with these."""
    dims = (Examples(4, 2), {name: (4, dict.fromkeys(labels, 1)) for name, (_, labels) in watch.items()})
    leaves, structure = jax.tree.flatten((examples, watch), is_leaf=lambda part: isinstance(part, Images))
    mine = [leaf.ndim > dim for leaf, dim in zip(leaves, jax.tree.leaves(dims), strict=True)]

    def join(own: list[Any], rest: list[Any]) -> tuple[Examples, Watch]:
        sources = iter(own), iter(rest)
        return structure.unflatten([next(sources[0] if is_mine else sources[1]) for is_mine in mine])

    parts = {yes: [leaf for leaf, is_mine in zip(leaves, mine, strict=True) if is_mine == yes] for yes in (True, False)}
    return parts[True], parts[False], join
