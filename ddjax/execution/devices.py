"""Meshes of devices, and arrays on them. No other module makes a mesh."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

from ddjax.trees import by_data

PARTS = "parts"  # the axis of every mesh


def mesh_of(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A one-dimensional mesh of `devices`; by default of all devices of all processes."""
    devices = jax.devices() if devices is None else list(devices)
    return jax.make_mesh((len(devices),), (PARTS,), (AxisType.Auto,), devices=devices)


def dividing(members: int) -> list[jax.Device]:
    """The largest number of this process's devices that divides `members` evenly."""
    devices = jax.local_devices()
    return devices[: max(count for count in range(1, len(devices) + 1) if members % count == 0)]


def local(tree: Any) -> Any:
    """Copy arrays that are on several devices, and addressable here, to this process's first device."""
    return jax.tree.map(lambda leaf: through_host(leaf, jnp.asarray), tree)


def through_host(leaf: Any, make: Callable[[np.ndarray], jax.Array]) -> Any:
    """`make` of a copy of the array on the host; keys are converted to their data and back."""
    return by_data(lambda array: make(np.asarray(array)), leaf)
