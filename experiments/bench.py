"""Measure: the only place where speed is asserted or claimed.

python -m experiments.bench gemm conv --width 128 --batch 128

python -m experiments.bench conv train --native --json

Fractions are of the rate of a float32 matrix product whose calls alternate with those measured. On Linux the
process asks for huge pages first: at a jitted call's first touch of its buffers, small ones cost as much as the
arithmetic of a narrow network. `GLIBC_TUNABLES= python -m experiments.bench` goes without.
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
    batch: Annotated[Count | None, tyro.conf.arg(help="images per step; default: the benchmark's own")] = None,
    repeats: Count = 5,
    ipc: Count = 1,
    native: bool = False,
) -> None:
    """Medians over calls after a warm-up.

    Args:
        names: what to measure: gemm, conv, import, train, evaluate, ...
        json: print one JSON list.
        width: channels of the networks.
        repeats: timed calls of each.
        ipc: distilled images per class, of rcig.
        native: measure XLA's own convolution too.
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
    """Versions and what else a number depends on."""
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax")}
    return {**versions, "cores": os.cpu_count(), "huge_pages": cli.HUGE_PAGES in os.environ.get("GLIBC_TUNABLES", "")}


def show(entries: list[dict], settings: object) -> None:
    """A table on standard output."""
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
