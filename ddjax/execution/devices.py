"""Devices in a row, and what stands on them: the one place that makes a mesh."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

from ddjax.trees import by_data

PARTS = "parts"  # the axis of every mesh


def mesh_of(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """All devices of all processes in a row."""
    devices = jax.devices() if devices is None else list(devices)
    return jax.make_mesh((len(devices),), (PARTS,), (AxisType.Auto,), devices=devices)


def dividing(members: int) -> list[jax.Device]:
    """As many of this process's devices as divide so many members evenly."""
    devices = jax.local_devices()
    return devices[: max(count for count in range(1, len(devices) + 1) if members % count == 0)]


def local(tree: Any) -> Any:
    """Arrays that are on several devices, and can be read here, as arrays of this process's first one."""
    return jax.tree.map(lambda leaf: through_host(leaf, jnp.asarray), tree)


def through_host(leaf: Any, make: Callable[[np.ndarray], jax.Array]) -> Any:
    """`make` of the array on the host, which is where every process has all of it; keys by their data."""
    return by_data(lambda array: make(np.asarray(array)), leaf)
