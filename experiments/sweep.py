"""A grid of experiments, its figures and its verdicts.

python -m experiments.sweep --preset demo --out runs/demo
"""

import pathlib
import shlex
import sys

from experiments.cli import keep_compiled, main, with_huge_pages


def sweep(
    preset: str = "demo",
    config: pathlib.Path | None = None,
    out: pathlib.Path | None = None,
    datasets: tuple[str, ...] = (),
    methods: tuple[str, ...] = (),
    rates: tuple[float, ...] = (),
    ipc: tuple[int, ...] = (),
    seeds: tuple[int, ...] = (),
    protocols: tuple[str, ...] = (),
    limit: int | None = None,
    fleet: bool | None = None,
    dry_run: bool = False,
    quiet: bool = False,
    data_dir: str | None = None,
) -> int:
    """Run the cells of a grid that its directory lacks, then write the report. Stop it and start it at any time.

    Args:
      preset: demo, figure2, figure4, figure5, tier_a or long_tail.
      config: a grid from a TOML file, in place of the preset.
      out: the directory; by default runs/PRESET. Several processes may work on one.
      datasets: these alone; so for methods, rates, ipc, seeds and protocols.
      limit: run at most so many of the missing cells.
      fleet: cells that differ only in labels or seed as one program; by default on accelerators only.
      dry_run: list the cells, and what is known of their time, and stop.
      quiet: no progress and no verdicts.
      data_dir: the TFDS directory, when it is not the usual one.
    """
    import jax

    from ddjax.names import choose
    from experiments.progress import progress
    from experiments.report import report
    from experiments.sweeping import grid as grids
    from experiments.sweeping.presets import PRESETS
    from experiments.sweeping.run import run_missing
    from experiments.sweeping.store import Store

    whole = (grids.from_file(config),) if config else choose(PRESETS, preset, "preset")
    cells = grids.cells(
        *grids.narrowed(
            whole, datasets=datasets, methods=methods, rates=rates, ipc=ipc, seeds=seeds, protocols=protocols
        )
    )
    store = Store(out or pathlib.Path("runs") / (config.stem if config else preset))
    wanted = cells
    if limit is not None:
        missing = [cell for cell in cells if not store.done(cell)]
        cells = [cell for cell in cells if cell not in missing[limit:]]
    if dry_run:
        print(listing(cells, store))
        return 0
    store.plan(wanted)
    command = shlex.join(["python", "-m", "experiments.sweep", *sys.argv[1:]])
    together = jax.default_backend() != "cpu" if fleet is None else fleet
    with progress("cells", quiet) as seen:
        failed = run_missing(cells, store, command=command, fleet=together, data_dir=data_dir, report=seen)
    if len(failed) < len(cells):
        report(store.root, quiet=quiet)
    if failed:
        print(f"{len(failed)} of {len(cells)} cells failed; their reasons are in the report", file=sys.stderr)
    return 1 if failed else 0


def listing(cells: list, store: object) -> str:
    """The cells as a table, with the seconds that those present took."""
    lines = [f"{'data set':12} {'noise':16} {'method':8} {'ipc':>4} {'seed':>4} {'protocol':10} {'seconds':>8}"]
    for cell in cells:
        row = store.row(cell)
        took = "" if row is None else row["status"] if row["status"] != "done" else f"{row['seconds']:.1f}"
        noise, ipc = f"{cell.noise} {cell.rate:g}", "all" if cell.method == "full" else cell.ipc
        lines.append(
            f"{cell.dataset:12} {noise:16} {cell.method:8} {ipc:>4} {cell.seed:>4} {cell.protocol:10} {took:>8}"
        )
    present = sum(store.done(cell) for cell in cells)
    return "\n".join([*lines, f"{len(cells)} cells, {present} of them present in {store.root}"])


if __name__ == "__main__":
    with_huge_pages()
    keep_compiled()
    main(sweep, __doc__)
