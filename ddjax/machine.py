"""Rates of this machine: of matrix products and of memory, measured and as published."""

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


def _published(memory: float, **products: float) -> Published:
    return Published({name: 1e12 * rate for name, rate in products.items()}, 1e9 * memory)


# how JAX's name of a device begins -> TFLOP/s and GB/s of its data sheet; a longer name stands before a shorter one
PUBLISHED = {
    "NVIDIA H200": _published(4800, float32=67, tensorfloat32=494, bfloat16=989),
    "NVIDIA H100": _published(3350, float32=67, tensorfloat32=494, bfloat16=989),
    "NVIDIA A100-SXM4-80GB": _published(2039, float32=19.5, tensorfloat32=156, bfloat16=312),
    "NVIDIA A100": _published(1555, float32=19.5, tensorfloat32=156, bfloat16=312),
    "NVIDIA L4": _published(300, float32=30.3, tensorfloat32=60, bfloat16=121),
    "Tesla T4": _published(320, float32=8.1),
    "Tesla V100": _published(900, float32=15.7),
    "TPU v6 lite": _published(1640, bfloat16=918),
    "TPU v5 lite": _published(819, bfloat16=197),
    "TPU v5": _published(2765, bfloat16=459),
    "TPU v4": _published(1228, bfloat16=275),
}


def published(device: jax.Device | None = None) -> Published | None:
    """The published rates of a device, by default the first one; None for a device that is not in the table."""
    kind = (device or jax.devices()[0]).device_kind
    return next((rates for name, rates in PUBLISHED.items() if kind.startswith(name)), None)


def product(precision: str | None = None, side: int | None = None) -> tuple[Callable[[Array], Array], Array, float]:
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
