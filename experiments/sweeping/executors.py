"""Where cells run: in this process or several of this machine, as tasks of a Ray cluster, or as jobs of Slurm."""

import dataclasses
import itertools
import math
import os
from typing import Literal

import jax

from ddjax import ranges
from ddjax.models.sizes import is_small
from ddjax.ranges import Count, Natural
from experiments.display.progress import View
from experiments.running.config import Experiment
from experiments.running.run import alike
from experiments.sweeping.cost import SHAPES
from experiments.sweeping.jobs import resources_of, run_jobs
from experiments.sweeping.machines import GIB, MACHINES, device_memory
from experiments.sweeping.on_processes import on_processes
from experiments.sweeping.on_ray import on_ray
from experiments.sweeping.on_slurm import on_slurm
from experiments.sweeping.run import bundles, groups, run_missing
from experiments.sweeping.store import Store

Bundle = list[list[Experiment]]
OF_A_WORKER = 2 * GIB  # memory that a process with small images stays below
JOBS_OF_A_WORKER = 4  # enough for all to end at about the same time, few enough to compile a program once


@dataclasses.dataclass(frozen=True)
class Where:
    """How cells are spread.

    Attributes:
      executor: here, ray or slurm.
      workers: processes at work here at once; None lets `usual_workers` decide.
      address: of a Ray cluster, such as auto or HOST:6379; without one Ray starts on this machine.
      resources: of a job: cpus, gpus, tpus, memory (GB) and hours, as NAME=NUMBER for all or METHOD:NAME=NUMBER.
      retries: how often a job whose process died is run again.
      slurm: options of sbatch, as NAME=VALUE: partition, account, array_parallelism; cluster=local tries it out here.
    """

    executor: Literal["here", "ray", "slurm"] = "here"
    workers: Count | None = None
    address: str | None = None
    resources: tuple[str, ...] = ()
    retries: Natural = 2
    slurm: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        ranges.fields(self)
        if self.workers is not None and self.executor != "here":
            raise ValueError(f"--workers are processes of this machine; --executor {self.executor} has its own")


def execute(
    cells: list[Experiment],
    store: Store,
    where: Where,
    *,
    fleet: bool | None,
    machine: str | None,
    command: str,
    data_dir: str | None,
    view: View,
    save_every: float,
) -> list[Experiment]:
    """Run what is not done; returns the cells that failed."""
    missing = [cell for cell in cells if not store.done(cell)]
    if where.executor == "here":
        together = jax.default_backend() != "cpu" if fleet is None else fleet
        alone = together or view.board is not None or not missing
        workers = where.workers or (1 if alone else usual_workers(missing))
        if workers > 1 and alone:
            raise ValueError(f"--workers {workers} and --fleet, --tensorboard or an accelerator exclude each other")
        if workers == 1:
            keeping = store.keeping(save_every)
            return run_missing(
                cells, store, command=command, fleet=together, data_dir=data_dir, view=view, keeping=keeping
            )
        parts = in_few(bundles(groups(missing, False)), math.ceil(len(missing) / (JOBS_OF_A_WORKER * workers)))
        start = on_processes(workers)
    else:
        parts = bundles(_groups_elsewhere(missing, where, fleet, machine, data_dir))
        if where.executor == "ray":
            start = on_ray(where.address, where.resources, where.retries)
        else:
            start = on_slurm(store.root / "slurm", where.resources, where.retries, where.slurm)
    failed = run_jobs(
        parts,
        store,
        command=command,
        data_dir=data_dir,
        save_every=save_every,
        retries=where.retries,
        start=start,
        view=view,
    )
    store.tidy()
    return failed


def usual_workers(cells: list[Experiment]) -> int:
    """One for each core where all images are known to be small: their networks cannot keep several cores busy."""
    small = {name for name, (_, _, image, _) in SHAPES.items() if is_small(image)}
    if jax.default_backend() != "cpu" or any(cell.dataset not in small for cell in cells):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, len(cells), int(device_memory() / OF_A_WORKER)))


def in_few(parts: list[Bundle], most: int) -> list[Bundle]:
    """Neighbours of a kind joined, up to `most` cells: whoever runs them compiles their programs once."""
    found: list[Bundle] = []
    for _, kind in itertools.groupby(parts, key=lambda bundle: [alike(group[0]) for group in bundle]):
        found.append([])
        for bundle in kind:
            if found[-1] and sum(map(len, found[-1])) + sum(map(len, bundle)) > most:
                found.append([])
            found[-1] += bundle
    return found


def _groups_elsewhere(
    missing: list[Experiment], where: Where, fleet: bool | None, machine: str | None, data_dir: str | None
) -> list[list[Experiment]]:
    need = {cell.method: resources_of(cell.method, where.resources) for cell in missing}
    room = MACHINES[machine].memory if machine in MACHINES else math.inf
    parts = []
    for method in need:  # a fleet by default where its job has an accelerator
        together = bool(need[method].gpus or need[method].tpus) if fleet is None else fleet
        parts += groups([cell for cell in missing if cell.method == method], together, room, data_dir)
    return parts
