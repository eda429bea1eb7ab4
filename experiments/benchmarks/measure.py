"""Timing: medians of calls in turn with a matrix product, so that load on the machine affects both alike."""

import dataclasses
import pathlib
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from ddjax.backend import target

Entry = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of all benchmarks."""

    width: int = 128
    batch: int | None = None  # None for that of the benchmark
    repeats: int = 5
    ipc: int = 1  # distilled images per class, for benchmarks without fixed sizes
    native: bool = False  # also measure XLA's convolution and a plain Flax network
    files: pathlib.Path | None = None  # directory of predictions for the benchmark judge


def compiled(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """A compiled and warmed-up call with these arguments, which waits for its result."""
    program = jax.jit(function).lower(*arguments).compile()

    def call() -> Any:
        return jax.block_until_ready(program(*arguments))

    call()
    return call


def times(calls: list[Callable[[], Any]], repeats: int) -> list[list[float]]:
    """Seconds of each call; the calls run in turn, `repeats` times."""
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, mine in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            mine.append(time.perf_counter() - start)
    return seconds


def product() -> tuple[Callable[[], Any], float]:
    """A float32 matrix product, and its size in GFLOP."""
    n = 2048 if target() == "cpu" else 8192
    a = jax.random.normal(jax.random.key(0), (n, n))
    return compiled(lambda a: jnp.matmul(a, a, precision="highest"), a), 2 * n**3 / 1e9


def measure(name: str, call: Callable[[], Any], gflop: float | None, repeats: int, **more: Any) -> Entry:
    """Measure a call. `gflop` counts the operations of the mathematical definition, not of the implementation."""
    (only,) = in_turn({name: call}, gflop, repeats)
    return only | more


def in_turn(calls: dict[str, Callable[[], Any]], gflop: float | None, repeats: int) -> Iterator[Entry]:
    """Measure several implementations of one result in turn.

    `ratio` is the time relative to the first implementation: the median over rounds, which is robust to slow rounds.
    """
    unit, unit_gflop = product()
    *rounds, of_unit = times([*calls.values(), unit], repeats)
    for i, (name, seconds) in enumerate(zip(calls, rounds, strict=True)):
        own = statistics.median(seconds)
        fraction = None if gflop is None else gflop / own / (unit_gflop / statistics.median(of_unit))
        ratio = statistics.median(mine / first for mine, first in zip(seconds, rounds[0], strict=True))
        yield entry(name, own, gflop, fraction, **({"ratio": ratio} if i else {}))


def entry(name: str, seconds: float, gflop: float | None = None, fraction: float | None = None, **more: Any) -> Entry:
    """One row; fields that do not apply are None."""
    return {
        "name": name,
        "seconds": seconds,
        "gflop": gflop,
        "gemm_fraction": fraction,
        "peak_mib": peak_mib(),
        "backend": target(),
        **more,
    }


def peak_mib() -> float:
    """Peak memory so far, of this process or of the accelerator."""
    if target() == "cpu":
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    statistics_of = jax.devices()[0].memory_stats() or {}
    return statistics_of.get("peak_bytes_in_use", float("nan")) / 2**20


def gemm(settings: Settings) -> Iterator[Entry]:
    """Measure the matrix product that all fractions refer to."""
    call, gflop = product()
    (seconds,) = times([call], settings.repeats)
    yield entry("gemm", statistics.median(seconds), gflop, 1.0)
