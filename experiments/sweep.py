"""Run a grid of experiments, then write its figures and verdicts.

Example: python -m experiments.sweep --preset demo --out runs/demo
"""

import pathlib
import sys
from typing import Annotated, Literal

from ddjax.ranges import Count, Natural, NonNegative, Range, Seed, Share, checked
from experiments.display.cli import as_repeated, check_folder, main, make_deterministic, use_data_dir, with_huge_pages

RELOAD = 15  # seconds after which a browser loads the page of a running sweep again


@checked
def sweep(
    preset: str | None = None,
    config: pathlib.Path | None = None,
    out: pathlib.Path | None = None,
    datasets: tuple[str, ...] = (),
    noises: tuple[str, ...] = (),
    methods: tuple[str, ...] = (),
    rates: tuple[Share, ...] = (),
    ipc: tuple[Count, ...] = (),
    seeds: tuple[Seed, ...] = (),
    protocols: tuple[str, ...] = (),
    limit: Natural | None = None,
    most: Natural | None = None,
    fleet: bool | None = None,
    dry_run: bool = False,
    effect: Annotated[float, Range(0, 1, above=True, below=True)] | None = None,
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
    images: Literal["auto", "device", "host"] = "auto",
    deterministic: bool = False,
) -> int:
    """Run the missing cells of a grid, then write the report.

    A cell is one experiment of the grid. A terminal shows the table of accuracies as it grows. When all cells of a seed
    are done, the report is there. It is written again as further cells land, and a browser that shows the page loads it
    again. SIGTERM and Ctrl-C save the running cells and exit with status 75. The same command continues.

    Args:
      preset: grid to run: demo, digits, photographs, photographs_tail, photographs_networks,
        figure2, figure4, figure5, cifar10 or long_tail; by default demo.
      config: TOML file with a grid, instead of a preset.
      out: output directory; by default runs/PRESET. Several processes may share it.
      datasets: run only these data sets of the grid.
      noises: run only these kinds of noise of the grid, such as symmetric or worst.
      methods: run only these methods of the grid.
      rates: run only these noise rates of the grid.
      ipc: run only these numbers of distilled images per class of the grid.
      seeds: run only these seeds of the grid.
      protocols: run only these evaluation protocols of the grid.
      limit: train on this many first images, in place of the grid's number; 0 takes all.
      most: run at most this many missing cells.
      fleet: run cells that differ only in labels or seed as one program; by default only on accelerators.
      dry_run: print the cells with their predicted time, memory and disk space, and run nothing.
      effect: with --dry-run, also print how many seeds detect this difference of accuracies, such as 0.02.
      machine: machine for the predictions of --dry-run, at its default precision: h200 or cpu2; by default this
        machine. Its memory also limits the fleets of tasks and jobs.
      executor: run cells here, as tasks of a Ray cluster, or as Slurm jobs (through submitit).
      workers: processes on this machine; by default one per core for small images without an accelerator, else one.
      address: address of a Ray cluster, such as auto or HOST:6379; by default Ray starts on this machine.
      resources: resources of a task or job, as NAME=NUMBER or METHOD:NAME=NUMBER; names are cpus, gpus, tpus, memory
        (GB) and hours.
      retries: how often to rerun a task or job whose process died, or a Slurm job that is out of time.
      slurm: sbatch options as NAME=VALUE, such as partition, account, array_parallelism; cluster=local runs the jobs on
        this machine.
      tensorboard: directory for TensorBoard logs of the cells that run in this process.
      quiet: print neither progress nor verdicts.
      data_dir: TFDS directory, if it is not the default.
      save_every: seconds between checkpoints of a cell; 0 saves at every opportunity.
      fresh: start unfinished cells again: removes the checkpoints of all cells in OUT, also those not chosen now.
      images: where training images are kept, as bytes: on the device, on the host, or "auto" for the device if they
        take at most a quarter of its memory. The place is printed; the results are the same.
      deterministic: bit-equal results on an accelerator, at some cost in speed; a CPU always gives them.

    Returns:
      The exit status: 1 if a cell failed, else 0.

    Raises:
      ValueError: a name, a number or the grid file is wrong; nothing has run.
    """
    if deterministic:
        make_deterministic()
    from ddjax.names import choose
    from ddjax.storage.files import remove
    from experiments.display.board import Board
    from experiments.display.progress import View
    from experiments.report import report
    from experiments.sweeping import executors, machines, planning
    from experiments.sweeping import grid as grids
    from experiments.sweeping.cost import check_cells
    from experiments.sweeping.early import Early, so_far
    from experiments.sweeping.presets import asked
    from experiments.sweeping.seeds import planned_seeds
    from experiments.sweeping.store import Store

    if effect is not None and not dry_run:
        raise ValueError("--effect plans seeds and runs nothing: add --dry-run, or leave --effect out")
    if machine is not None and executor == "here" and not dry_run:
        raise ValueError(f"--machine {machine} has no effect on a run here: add --dry-run, or leave --machine out")
    if tensorboard and executor != "here":
        raise ValueError(f"--tensorboard logs only cells that run here: leave it out with --executor {executor}")
    check_folder("--out", out)
    check_folder("--tensorboard", tensorboard)
    where = executors.Where(executor, workers, address, resources, retries, slurm)
    executors.check_workers(where, fleet, tensorboard is not None)
    if machine is not None:
        choose(machines.MACHINES, machine, "machine")
    name, whole = asked(preset, config, "demo")
    if dry_run and machine and executor == "here":  # tasks and jobs have the precision of this machine
        whole = tuple(grids.by_default(grid, precision=machines.MACHINES[machine].precision) for grid in whole)
    if limit is not None:
        whole = tuple(grids.limited(grid, limit) for grid in whole)
    axes = {"datasets": datasets, "noises": noises, "methods": methods, "rates": rates, "ipc": ipc, "seeds": seeds}
    chosen = grids.narrowed(whole, **axes, protocols=protocols)
    wanted = grids.cells(*chosen)
    check_cells(wanted)
    use_data_dir(data_dir)
    out = out or pathlib.Path("runs") / name
    store = Store(out, as_repeated("sweep"), save_every, images)
    later = set()
    if most is not None:
        later = set([cell for cell in wanted if not store.done(cell)][most:])
    rounds = [[cell for cell in part if cell not in later] for part in grids.rounds(*chosen)]
    cells = [cell for part in rounds for cell in part]
    if dry_run:
        device = machines.machine(machine)
        together = device.together if fleet is None else fleet
        print(planning.listing(planning.plan(rounds, store, device, together), store))
        if effect is not None:
            done = [row for cell in cells if (row := store.row(cell)) and row["status"] == "done"]
            print("\n".join(planned_seeds(done, cells, effect)))
        return 0
    store.plan(wanted, grids.cells(*whole))
    if fresh:
        remove(store.keeping().root)
    view = View(quiet, Board(tensorboard) if tensorboard else None)
    if executor == "here" and not quiet:
        with view.log():  # of images that are decoded
            lines = planning.places([cell for cell in cells if not store.done(cell)], images)
        for line in lines:
            view.say(line)
    early = Early(cells, store, lambda more: report(store.root, quiet=quiet or view.live or not more, reload=RELOAD))

    def landed() -> None:
        early.landed()
        view.above(lambda: so_far(cells, store, store.root / "report" / "report.html"))

    failed = executors.execute(rounds, store, where, fleet=fleet, machine=machine, view=view, landed=landed)
    reasons = f"the reasons are in {store.runs}/*/row.json"
    if any(map(store.done, cells)):
        report(store.root, quiet=quiet)
        reasons = "the report lists the reasons"
    if failed:
        print(f"{len(failed)} of {len(cells)} cells failed; {reasons}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    with_huge_pages()
    main(sweep, __doc__)
