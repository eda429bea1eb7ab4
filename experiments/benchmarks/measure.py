"""Timing: medians of calls in turn with a matrix product, so that load on the machine affects both alike."""

import dataclasses
import functools
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from ddjax import machine
from ddjax.backend import target
from ddjax.precision import POLICIES, asked

Entry = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of all benchmarks."""

    width: int = 128
    batch: int | None = None  # None for that of the benchmark
    repeats: int = 5
    ipc: int = 1  # distilled images per class, for benchmarks without fixed sizes
    native: bool = False  # also measure XLA's convolution and a plain Flax network
    files: pathlib.Path | None = None  # directory of predictions or features, or of what others read
    parts: bool = True  # also measure the parts of a step
    platform: str = "cpu"  # of the benchmark compile
    only: str = ""  # words in the names of its programs


@dataclasses.dataclass(frozen=True)
class Call:
    """A compiled program with its arguments, which waits for its result."""

    run: Callable[[], Any]
    compile_s: float  # seconds to trace, lower and compile it
    moved: float | None = None  # bytes that it moves, as XLA counts them; None for a program with loops

    def __call__(self) -> Any:
        """Run the program and wait for its result."""
        return self.run()


def compiled(function: Callable[..., Any], *arguments: Any) -> Call:
    """A compiled and warmed-up call with these arguments."""
    start = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    taken = time.perf_counter() - start
    jax.block_until_ready(program(*arguments))
    return Call(lambda: jax.block_until_ready(program(*arguments)), taken, moved_by(program))


def moved_by(program: Any) -> float | None:
    """Bytes that a compiled program reads and writes. XLA counts the body of a loop once, so loops have no number."""
    moved = (program.cost_analysis() or {}).get("bytes accessed", 0)
    return None if moved <= 0 or " while(" in program.as_text() else moved


def times(calls: list[Callable[[], Any]], repeats: int) -> list[list[float]]:
    """Seconds of each call; the calls run in turn, `repeats` times."""
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, mine in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            mine.append(time.perf_counter() - start)
    return seconds


def product() -> tuple[Call, float]:
    """A matrix product in the current precision, and its size in GFLOP."""
    function, matrix, operations = machine.product(asked())
    return compiled(function, matrix), operations / machine.GIGA


@functools.cache
def bandwidth() -> float:
    """Bytes per second of this machine's memory."""
    return machine.bandwidth()


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
        more = {"compile_s": getattr(calls[name], "compile_s", None)}
        if (moved := getattr(calls[name], "moved", None)) is not None:
            more["bandwidth_fraction"] = moved / own / bandwidth()
        yield entry(name, own, gflop, fraction, **more, **({"ratio": ratio} if i else {}))


def elsewhere(module: str, *words: str) -> Iterator[Entry]:
    """The rows that `alone(*words)` of a module prints as JSON, in a process of its own under the same precision.

    Each row is there as soon as it is measured.

    Raises:
      CalledProcessError: the process failed; it has printed the reason.
    """
    script = f"import sys; from {module} import alone; alone(*sys.argv[1:])"
    command = [sys.executable, "-c", script, *words]
    own = os.environ | {"JAX_DEFAULT_MATMUL_PRECISION": POLICIES[asked()]}
    own["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # this process may hold most of the accelerator's memory
    with subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            found = json.loads(line)
            yield entry(found.pop("name"), found.pop("seconds")) | found
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, module)


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
    """Measure the matrix product that all fractions refer to, a product of bfloat16 arrays, and memory bandwidth."""
    call, gflop = product()
    (seconds,) = times([call], settings.repeats)
    yield entry("gemm", statistics.median(seconds), gflop, 1.0, compile_s=call.compile_s)
    if settings.parts:
        function, matrix, operations = machine.product(None)
        yield measure("gemm of bfloat16 arrays", compiled(function, matrix), operations / machine.GIGA, 1)
        yield entry("memory", 1.0, gb=bandwidth() / machine.GIGA)
