"""Measure speed and peak memory.

Example: python -m experiments.bench gemm conv --width 128 --batch 128

Example: python -m experiments.bench conv train --native --json

Example: python -m experiments.bench judge --files DIR

"of GEMM" is relative to the rate of a matrix product in the same precision, which is measured in turn with each
benchmark. "of memory" is relative to the measured memory bandwidth. On Linux the process uses huge pages, because page
faults cost as much as the arithmetic of a narrow network; `GLIBC_TUNABLES= python -m experiments.bench` does not.
"""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import sys
from typing import Annotated, Any

import tyro

from ddjax import names as known
from ddjax.precision import asked, policy
from ddjax.ranges import Count, checked
from ddjax.storage.rows import hardware, to_line, versions
from experiments.display import cli

# title -> key of an entry and format; a column is shown where an entry has a value for it
COLUMNS: dict[str, tuple[str, str]] = {
    "seconds": ("seconds", ".4f"),
    "GFLOP/s": ("gflops", ".1f"),
    "of GEMM": ("gemm_fraction", ".2f"),
    "of memory": ("bandwidth_fraction", ".2f"),
    "GB/s": ("gb", ".0f"),
    "compile s": ("compile_s", ".1f"),
    "temporary GiB": ("temporary_gib", ".2f"),
    "all GiB": ("all_gib", ".2f"),
    "convolutions": ("convolutions", ".0f"),
    "collectives": ("collectives", ".0f"),
    "Mcycles": ("mega_cycles", ".1f"),
    "peak MiB": ("peak_mib", ".0f"),
    "ratio": ("ratio", ".2f"),
    "images/s": ("images_per_s", ".0f"),
    "error": ("error", ".1e"),
    "F1": ("f1", ".3f"),
    "flagged": ("flagged", ".3f"),
    "promised": ("promised", ".3f"),
    "precision": ("precision", ".3f"),
    "said": ("estimated_rate", ".3f"),
    "rate": ("noise_rate", ".3f"),
    "AUROC": ("auroc", ".3f"),
    "missed": ("missed_at_rate", ".3f"),
    "corrected": ("corrected_acc", ".3f"),
}


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
    parts: bool = True,
    precision: str | None = None,
    files: pathlib.Path | None = None,
    platform: str = "cpu",
    only: str = "",
) -> None:
    """Print the median time of each benchmark after a warm-up.

    Args:
        names: benchmarks: gemm, conv, precision, import, train, evaluate, ...; a wrong name lists all.
        json: print each row as one JSON line as soon as it is measured.
        width: channels of the networks; those of growth and imagenet are fixed.
        batch: images per step; None for those of the benchmark.
        repeats: timed calls per benchmark.
        ipc: distilled images per class of the benchmarks rcig, precision and fleet_...; others have their own.
        native: the benchmark conv also measures XLA's convolution and a plain Flax network.
        parts: also measure the parts of each step.
        precision: of matrix products; by default that of the platform.
        files: directory of .npz files of pred_probs [n k], given [n] and truth [n], for the benchmarks judge and
            features; or of what memory, growth, imagenet and vectors read, by default in the cache.
        platform: cpu, cuda or tpu, for which the benchmark compile compiles.
        only: the benchmark compile takes the programs whose names contain these words.

    Raises:
        ValueError: a benchmark is unknown.
    """
    from experiments.benchmarks import BENCHMARKS
    from experiments.benchmarks.measure import Settings

    functions = [known.choose(BENCHMARKS, name, "benchmark") for name in names]
    settings = Settings(width, batch, repeats, ipc, native, files, parts, platform, only)
    entries: list[dict[str, Any]] = []
    with policy(precision) if precision else contextlib.nullcontext():
        try:
            for entry in itertools.chain.from_iterable(function(settings) for function in functions):
                entries.append(entry)
                if json:
                    print(to_line(entry | circumstances()), flush=True)
        finally:  # also after an error or a signal
            if entries and not json:
                show(entries, settings)
    if not entries:
        print("nothing was measured", file=sys.stderr)


def circumstances() -> dict[str, str | bool]:
    """Versions and settings that the times depend on."""
    return {
        **versions(),
        "hardware": hardware(),
        "products": asked(),
        "cores": os.cpu_count(),
        "huge_pages": cli.HUGE_PAGES in os.environ.get("GLIBC_TUNABLES", ""),
    }


def show(entries: list[dict[str, Any]], settings: object) -> None:
    """Print the entries as a table."""
    from rich.console import Console
    from rich.table import Table

    chosen = ", ".join(f"{name} {value}" for name, value in dataclasses.asdict(settings).items() if value is not None)
    facts = ", ".join(f"{name} {value}" for name, value in circumstances().items())
    table = Table(title=f"{chosen}\n{facts}", title_justify="left")
    table.add_column("name", no_wrap=True)
    entries = [entry | {"gflops": entry["gflop"] and entry["gflop"] / entry["seconds"]} for entry in entries]
    shown = {title: how for title, how in COLUMNS.items() if any(entry.get(how[0]) is not None for entry in entries)}
    for title in shown:
        table.add_column(title, justify="right")
    for entry in entries:
        cells = ("" if entry.get(key) is None else format(entry[key], form) for key, form in shown.values())
        table.add_row(entry["name"], *cells)
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(table)
    console.print(f"backend: {entries[0]['backend']}")


if __name__ == "__main__":
    cli.with_huge_pages()
    cli.main(bench, description=__doc__)
