"""Executors of cells: one or several processes on this machine, tasks of a Ray cluster, or Slurm jobs."""

import math
from collections.abc import Callable
from typing import Literal

from ddjax import ranges
from ddjax.backend import target
from ddjax.machine import cores
from ddjax.models.sizes import is_small
from ddjax.ranges import Count, Natural
from experiments.display.progress import View
from experiments.running.config import Experiment
from experiments.sweeping.cost import SHAPES
from experiments.sweeping.jobs import resources_of, run_jobs
from experiments.sweeping.machines import GIB, MACHINES, device_memory
from experiments.sweeping.on_processes import on_processes
from experiments.sweeping.on_ray import on_ray
from experiments.sweeping.on_slurm import on_slurm
from experiments.sweeping.run import bundles, groups, run_missing
from experiments.sweeping.store import Store

OF_A_WORKER = 2 * GIB  # upper bound on the memory of a process with small images


@ranges.settings()
class Where:
    """The executor and its settings, as in the options of `experiments.sweep`."""

    executor: Literal["here", "ray", "slurm"] = "here"
    workers: Count | None = None
    address: str | None = None
    resources: tuple[str, ...] = ()
    retries: Natural = 2
    slurm: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse options of another executor, and options of sbatch without a value."""
        for option in self.slurm:
            if "=" not in option:
                raise ValueError(f"--slurm takes NAME=VALUE; got {option!r}")
        users = {"workers": ("here",), "address": ("ray",), "slurm": ("slurm",), "resources": ("ray", "slurm")}
        for name, executors in users.items():
            if getattr(self, name) and self.executor not in executors:
                words = " or ".join(executors)
                raise ValueError(
                    f"--{name} is only for --executor {words}; leave it out with --executor {self.executor}"
                )


def in_fleets(fleet: bool | None) -> bool:
    """Whether cells that run here form fleets: by default on accelerators."""
    return target() != "cpu" if fleet is None else fleet


def check_workers(where: Where, fleet: bool | None, tensorboard: bool) -> None:
    """Raise a ValueError for several processes beside a fleet, TensorBoard or an accelerator, which need one."""
    if (where.workers or 1) > 1 and (tensorboard or in_fleets(fleet)):
        raise ValueError(
            f"--workers {where.workers} does not work with --fleet True, --tensorboard or an accelerator: "
            "use --workers 1"
        )


def execute(
    rounds: list[list[Experiment]],
    store: Store,
    where: Where,
    *,
    fleet: bool | None,
    machine: str | None,
    view: View,
    landed: Callable[[], None],
) -> list[Experiment]:
    """Run the missing cells, those of a round before those of the next; returns the cells that failed.

    `landed` is called in this process when cells have a row.
    """
    left = [[cell for cell in part if not store.done(cell)] for part in rounds]
    missing = [cell for part in left for cell in part]
    if where.executor == "here":
        together = in_fleets(fleet)
        workers = where.workers or (1 if together or view.board is not None else usual_workers(missing))
        if workers == 1 or not missing:
            return run_missing(rounds, store, together, view, landed)
        parts = bundles(groups(missing, False))
        start = on_processes(workers)
    else:
        apart = [group for part in left for group in _groups_elsewhere(part, where, fleet, machine)]
        parts = bundles(apart)
        if where.executor == "ray":
            start = on_ray(where.address, where.resources)
        else:
            start = on_slurm(store.root / "slurm", where.resources, where.slurm)
    failed = run_jobs(parts, store, retries=where.retries, start=start, view=view, landed=landed)
    store.tidy()
    return failed


def usual_workers(cells: list[Experiment]) -> int:
    """One process per core if all images are small, because their networks cannot use several cores; otherwise 1."""
    small = {name for name, (_, _, image, _) in SHAPES.items() if is_small(image)}
    if target() != "cpu" or any(cell.dataset not in small for cell in cells):
        return 1
    return max(1, min(cores(), len(cells), int(device_memory() / OF_A_WORKER)))


def _groups_elsewhere(
    missing: list[Experiment], where: Where, fleet: bool | None, machine: str | None
) -> list[list[Experiment]]:
    need = {cell.method: resources_of(cell.method, where.resources) for cell in missing}
    room = MACHINES[machine].memory if machine in MACHINES else math.inf
    parts = []
    for method in need:  # by default a fleet if its job has an accelerator
        together = bool(need[method].gpus or need[method].tpus) if fleet is None else fleet
        parts += groups([cell for cell in missing if cell.method == method], together, room)
    return parts
