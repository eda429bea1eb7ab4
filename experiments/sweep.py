"""A grid of experiments, its figures and its verdicts.

python -m experiments.sweep --preset demo --out runs/demo
"""

import pathlib
import shlex
import sys
from typing import Literal

from ddjax.ranges import Count, Natural, NonNegative, Seed, Share, checked
from experiments.display.cli import keep_compiled, main, make_deterministic, with_huge_pages


@checked
def sweep(
    preset: str = "demo",
    config: pathlib.Path | None = None,
    out: pathlib.Path | None = None,
    datasets: tuple[str, ...] = (),
    methods: tuple[str, ...] = (),
    rates: tuple[Share, ...] = (),
    ipc: tuple[Count, ...] = (),
    seeds: tuple[Seed, ...] = (),
    protocols: tuple[str, ...] = (),
    limit: Natural | None = None,
    fleet: bool | None = None,
    dry_run: bool = False,
    effect: float | None = None,
    machine: str | None = None,
    executor: Literal["here", "ray", "slurm"] = "here",
    workers: Count | None = None,
    address: str | None = None,
    resources: tuple[str, ...] = (),
    retries: Natural = 2,
    slurm: tuple[str, ...] = (),
    tensorboard: pathlib.Path | None = None,
    quiet: bool = False,
    data_dir: str | None = None,
    save_every: NonNegative = 60.0,
    fresh: bool = False,
    deterministic: bool = False,
) -> int:
    """Run the cells of a grid that its directory lacks, then write the report. Stop it and start it at any time.

    Stopped by SIGTERM or Ctrl-C it keeps what it has and exits with status 75; the same command goes on from there.

    Args:
      preset: demo, figure2, figure4, figure5, tier_a or long_tail.
      config: a grid from a TOML file, in place of the preset.
      out: the directory; by default runs/PRESET. Several processes may work on one.
      datasets: these alone; so for methods, rates, ipc, seeds and protocols.
      limit: run at most so many of the missing cells.
      fleet: cells that differ only in labels or seed as one program; by default on accelerators only.
      dry_run: list the cells with the time, memory and disk that they will take, and stop.
      effect: with dry_run, also say how many seeds find a difference of accuracies as large as this, such as 0.02.
      machine: whose time dry_run predicts, h200 or cpu2; by default of the one at hand.
      executor: cells run here, as tasks of a ray cluster, or as jobs of slurm (through submitit).
      workers: processes at work on this machine at once; by default one for each core where images are small and there
        is no accelerator, else one.
      address: of a Ray cluster, such as auto or HOST:6379; without one Ray starts on this machine.
      resources: of a task or job: cpus, gpus, tpus, memory (GB) and hours, as NAME=NUMBER, or METHOD:NAME=NUMBER.
      retries: how often a task or job whose process died is run again.
      slurm: options of sbatch, NAME=VALUE: partition, account, array_parallelism; cluster=local tries it out here.
      tensorboard: also write metrics and scores into this directory, for TensorBoard (of cells in this process).
      quiet: no progress and no verdicts.
      data_dir: the TFDS directory, when it is not the usual one.
      save_every: seconds between checkpoints of a cell; 0 writes one whenever it comes up for air.
      fresh: begin unfinished cells anew, not from their checkpoints.
      deterministic: bit-equal results on an accelerator, at some cost in speed; on a CPU they are so anyway.
    """
    if deterministic:
        make_deterministic()
    from ddjax.names import choose
    from ddjax.storage.files import remove
    from experiments.display.board import Board
    from experiments.display.progress import View
    from experiments.report import report
    from experiments.running.shared import pieces
    from experiments.sweeping import executors, machines, planning
    from experiments.sweeping import grid as grids
    from experiments.sweeping.presets import PRESETS
    from experiments.sweeping.seeds import planned_seeds
    from experiments.sweeping.store import Store

    if effect is not None and not (dry_run and 0 < effect < 1):
        raise ValueError(f"effect is a difference of accuracies between 0 and 1, for --dry-run; got {effect}")
    whole = (grids.from_file(config),) if config else choose(PRESETS, preset, "preset")
    cells = grids.cells(
        *grids.narrowed(
            whole, datasets=datasets, methods=methods, rates=rates, ipc=ipc, seeds=seeds, protocols=protocols
        )
    )
    for cell in cells:
        pieces(cell)  # a wrong name or option is an error before the first cell runs
    store = Store(out or pathlib.Path("runs") / (config.stem if config else preset))
    wanted = cells
    if limit is not None:
        missing = [cell for cell in cells if not store.done(cell)]
        cells = [cell for cell in cells if cell not in missing[limit:]]
    if dry_run:
        device = machines.machine(machine)
        together = device.together if fleet is None else fleet
        print(planning.listing(planning.plan(cells, store, device, together, data_dir), store))
        if effect is not None:
            done = [row for cell in cells if (row := store.row(cell)) and row["status"] == "done"]
            kinds = {(cell.dataset, cell.method, cell.ipc) for cell in cells if cell.method != "full"}
            number = max(map(len, (grid.seeds for grid in whole)))
            print("\n".join(planned_seeds(done, effect, number, max(1, len(kinds)))))
        return 0
    store.plan(wanted)
    if fresh:
        remove(store.keeping().root)
    command = shlex.join(["python", "-m", "experiments.sweep", *sys.argv[1:]])
    where = executors.Where(executor, workers, address, resources, retries, slurm)
    failed = executors.execute(
        cells,
        store,
        where,
        fleet=fleet,
        machine=machine,
        command=command,
        data_dir=data_dir,
        view=View(quiet, Board(tensorboard) if tensorboard else None),
        save_every=save_every,
    )
    if len(failed) < len(cells):
        report(store.root, quiet=quiet)
    if failed:
        print(f"{len(failed)} of {len(cells)} cells failed; their reasons are in the report", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    with_huge_pages()
    keep_compiled()
    main(sweep, __doc__)
