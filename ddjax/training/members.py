"""One function over many members: side by side or one after the other, and shared out among devices."""

from collections.abc import Callable

import jax
from jax.sharding import AxisType, PartitionSpec

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
    mesh = jax.make_mesh((devices,), ("members",), (AxisType.Auto,), devices=jax.local_devices()[:devices])
    split, whole = PartitionSpec("members"), PartitionSpec()
    return jax.shard_map(own, mesh=mesh, in_specs=(split, *[whole] * shared), out_specs=split, check_vma=False)


def dividing(members: int) -> int:
    """The most of this process's devices among which so many members can be divided evenly."""
    return max(count for count in range(1, jax.local_device_count() + 1) if members % count == 0)
