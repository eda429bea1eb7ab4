"""What this machine has and does: its memory, and its rates of matrix products and of memory."""

import os
import re
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ddjax.backend import target
from ddjax.precision import of_lax

GIGA = 1e9


class Published(NamedTuple):
    """Rates from a data sheet, for dense products."""

    products: dict[str, float]  # type of the factors -> operations per second
    memory: float  # bytes per second, in both directions together


# the first words of JAX's name of a device -> its data sheet; a longer name stands before a shorter one
PUBLISHED = {
    "NVIDIA H200": Published({"float32": 67e12, "tensorfloat32": 494e12, "bfloat16": 989e12}, 4800e9),
    "NVIDIA H100 PCIe": Published({"float32": 51e12, "tensorfloat32": 378e12, "bfloat16": 756e12}, 2000e9),
    "NVIDIA H100": Published({"float32": 67e12, "tensorfloat32": 494e12, "bfloat16": 989e12}, 3350e9),
    "NVIDIA A100-SXM4-80GB": Published({"float32": 19.5e12, "tensorfloat32": 156e12, "bfloat16": 312e12}, 2039e9),
    "NVIDIA A100": Published({"float32": 19.5e12, "tensorfloat32": 156e12, "bfloat16": 312e12}, 1555e9),
    "NVIDIA L40S": Published({"float32": 91.6e12, "tensorfloat32": 183e12, "bfloat16": 362e12}, 864e9),
    "NVIDIA L4": Published({"float32": 30.3e12, "tensorfloat32": 60e12, "bfloat16": 121e12}, 300e9),
    "Tesla T4": Published({"float32": 8.1e12}, 320e9),
    "Tesla V100": Published({"float32": 15.7e12}, 900e9),
    "TPU v6 lite": Published({"bfloat16": 918e12}, 1640e9),
    "TPU v5 lite": Published({"bfloat16": 197e12}, 819e9),
    "TPU v5": Published({"bfloat16": 459e12}, 2765e9),
    "TPU v4": Published({"bfloat16": 275e12}, 1228e9),
}


def cores() -> int:
    """The number of processor cores that this process may use.

    Example:
      >>> cores() >= 1
      True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int | None:
    """Bytes of memory of the default device, which on a CPU is that of the machine; None if it cannot be asked.

    Example:
      >>> memory() is None or memory() > 2**20
      True
    """
    if target() == "cpu":
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError):  # not available on every system
            return None
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")  # other processes' cannot be asked


def published(kind: str | None = None) -> Published | None:
    """The published rates of a kind of device, by default the first one's; None for one that is not in the table.

    Example:
      >>> published("NVIDIA H100 80GB HBM3").products["float32"]
      67000000000000.0
    """
    kind = kind or jax.devices()[0].device_kind
    return next((rates for name, rates in PUBLISHED.items() if re.match(rf"{name}\b", kind)), None)


def product(precision: str | None = None, side: int | None = None) -> tuple[Callable[[Array], Array], Array, int]:
    """A square matrix product.

    Args:
      precision: a policy of `ddjax.precision`; None multiplies bfloat16 arrays.
      side: of the matrix; by default one that keeps the device busy.

    Returns:
      A function to compile, its argument, and the number of operations.

    Example:
      >>> function, matrix, operations = product("float32", side=4)
      >>> function(matrix).shape, operations
      ((4, 4), 128)
    """
    side = side or (2048 if target() == "cpu" else 8192)
    matrix = jax.random.normal(jax.random.key(0), (side, side), None if precision else jnp.bfloat16)
    how = of_lax(precision, target()) if precision else None
    return lambda a: jnp.matmul(a, a, precision=how), matrix, 2 * side**3


def rate(precision: str | None = None, side: int | None = None, repeats: int = 5) -> float:
    """Measured operations per second of `product`."""
    function, matrix, operations = product(precision, side)
    return operations / seconds(function, matrix, repeats=repeats)


def bandwidth(repeats: int = 5) -> float:
    """Measured bytes per second of an addition to a large array: bytes read and bytes written."""
    count = 2**24 if target() == "cpu" else 2**28
    return 8 * count / seconds(lambda a: a + 1, jnp.ones(count, jnp.float32), repeats=repeats)


def seconds(function: Callable[..., Any], *arguments: Any, repeats: int) -> float:
    """The median time of a compiled call after a warm-up."""
    program, taken = jax.jit(function), []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(program(*arguments))
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])
