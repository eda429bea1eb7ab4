"""One function over many members: side by side or one after the other, and shared out among devices."""

from collections.abc import Callable

import jax
from jax.sharding import PartitionSpec

from ddjax.execution.devices import PARTS, mesh_of
from ddjax.names import unknown

HOWS = ("auto", "map", "vmap")


def over_members(function: Callable, how: str = "auto") -> Callable:
    """`function(member, *shared)` -> the same over a leading axis of members.

    "vmap" runs them side by side, "map" one after the other in the same program; "auto" maps on CPU, where
    side by side gains nothing and holds the activations of all members at once, and vmaps elsewhere.
    """
    if how == "auto":
        how = "map" if jax.default_backend() == "cpu" else "vmap"
    if how == "vmap":
        return lambda members, *shared: jax.vmap(lambda m: function(m, *shared))(members)
    if how == "map":
        return lambda members, *shared: jax.lax.map(lambda m: function(m, *shared), members)
    raise unknown("how", how, HOWS)


def over_devices(function: Callable, how: str, devices: int, shared: int) -> Callable:
    """`over_members` on each of this process's first devices, which divide the members among them.

    `function(members, *shared)` has so many `shared` arguments, which every device has whole.
    """
    own = over_members(function, how)
    if devices == 1:
        return own
    mesh, split, whole = mesh_of(jax.local_devices()[:devices]), PartitionSpec(PARTS), PartitionSpec()
    return jax.shard_map(own, mesh=mesh, in_specs=(split, *[whole] * shared), out_specs=split, check_vma=False)
