"""Measure speed and peak memory.

Example: python -m experiments.bench gemm conv --width 128 --batch 128

Example: python -m experiments.bench conv train --native --json

Fractions are relative to the rate of a float32 matrix product, which is measured in turn with each benchmark. On Linux
the process uses huge pages, because page faults cost as much as the arithmetic of a narrow network.
`GLIBC_TUNABLES= python -m experiments.bench` runs without them.
"""

import dataclasses
import importlib.metadata
import json as json_module
import os
import sys
from typing import Annotated

import tyro

from ddjax import names as known
from ddjax.ranges import Count, checked
from experiments.display import cli


@checked
def bench(
    names: tyro.conf.Positional[tuple[str, ...]] = ("gemm", "conv"),
    *,
    json: bool = False,
    width: Count = 128,
    batch: Annotated[Count | None, tyro.conf.arg(help="images per step; by default those of the benchmark")] = None,
    repeats: Count = 5,
    ipc: Count = 1,
    native: bool = False,
) -> None:
    """Print the median time of each benchmark after a warm-up.

    Args:
        names: benchmarks: gemm, conv, precision, import, train, evaluate, ...; a wrong name lists all.
        json: print one JSON list.
        width: channels of the networks.
        batch: images per step; None for those of the benchmark.
        repeats: timed calls per benchmark.
        ipc: distilled images per class of the benchmark rcig.
        native: also measure XLA's convolution.

    Raises:
        ValueError: a benchmark is unknown.
    """
    from experiments.benchmarks import BENCHMARKS
    from experiments.benchmarks.measure import Settings

    functions = [known.choose(BENCHMARKS, name, "benchmark") for name in names]
    settings = Settings(width, batch, repeats, ipc, native)
    entries = [entry for function in functions for entry in function(settings)]
    if json:
        print(json_module.dumps([{**entry, **circumstances()} for entry in entries]))
    else:
        show(entries, settings)


def circumstances() -> dict[str, str | bool]:
    """Versions and settings that the times depend on."""
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax")}
    return {**versions, "cores": os.cpu_count(), "huge_pages": cli.HUGE_PAGES in os.environ.get("GLIBC_TUNABLES", "")}


def show(entries: list[dict], settings: object) -> None:
    """Print the entries as a table."""
    from rich.console import Console
    from rich.table import Table

    chosen = ", ".join(f"{name} {value}" for name, value in dataclasses.asdict(settings).items())
    facts = ", ".join(f"{name} {value}" for name, value in circumstances().items())
    table = Table(title=f"{chosen}\n{facts}", title_justify="left")
    table.add_column("name", no_wrap=True)
    for name in ("seconds", "GFLOP/s", "of GEMM", "peak MiB", "ratio", "images/s", "error"):
        table.add_column(name, justify="right")
    for entry in entries:
        rate = entry["gflop"] and entry["gflop"] / entry["seconds"]
        numbers = (
            (entry["seconds"], ".4f"),
            (rate, ".1f"),
            (entry["gemm_fraction"], ".2f"),
            (entry["peak_mib"], ".0f"),
            (entry.get("ratio"), ".2f"),
            (entry.get("images_per_s"), ".0f"),
            (entry.get("error"), ".1e"),
        )
        table.add_row(entry["name"], *("" if value is None else format(value, form) for value, form in numbers))
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    console.print(f"backend: {entries[0]['backend']}" if entries else "nothing was measured")


if __name__ == "__main__":
    cli.with_huge_pages()
    cli.main(bench, description=__doc__)
