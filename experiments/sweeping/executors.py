"""Where cells run: in this process, as tasks of a Ray cluster, or as jobs of Slurm."""

import dataclasses
import math
from typing import Literal

import jax

from experiments.config import Experiment
from experiments.progress import View
from experiments.sweeping.jobs import resources_of, run_jobs
from experiments.sweeping.machines import MACHINES
from experiments.sweeping.on_ray import on_ray
from experiments.sweeping.on_slurm import on_slurm
from experiments.sweeping.run import bundles, groups, run_missing
from experiments.sweeping.store import Store


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """Running cells on other machines.

    Attributes:
      executor: here, ray or slurm.
      address: of a Ray cluster, such as auto or HOST:6379; without one Ray starts on this machine.
      resources: of a job: cpus, gpus, tpus, memory (GB) and hours, as NAME=NUMBER for all or METHOD:NAME=NUMBER.
      retries: how often a job whose process died is run again.
      slurm: options of sbatch, as NAME=VALUE: partition, account, array_parallelism; cluster=local tries it out here.
    """

    executor: Literal["here", "ray", "slurm"] = "here"
    address: str | None = None
    resources: tuple[str, ...] = ()
    retries: int = 2
    slurm: tuple[str, ...] = ()


def execute(
    cells: list[Experiment],
    store: Store,
    where: Elsewhere,
    *,
    fleet: bool | None,
    machine: str | None,
    command: str,
    data_dir: str | None,
    view: View,
    save_every: float,
    fresh: bool,
) -> list[Experiment]:
    """Run what is not done; returns the cells that failed."""
    if where.executor == "here":
        together = jax.default_backend() != "cpu" if fleet is None else fleet
        keeping = store.keeping(save_every, fresh)
        return run_missing(cells, store, command=command, fleet=together, data_dir=data_dir, view=view, keeping=keeping)
    need = {cell.method: resources_of(cell.method, where.resources) for cell in cells}
    missing = [cell for cell in cells if not store.done(cell)]
    room = MACHINES[machine].memory if machine in MACHINES else math.inf
    parts = []
    for method in need:  # a fleet by default where its job has an accelerator
        together = bool(need[method].gpus or need[method].tpus) if fleet is None else fleet
        parts += groups([cell for cell in missing if cell.method == method], together, room, data_dir)
    if where.executor == "ray":
        start = on_ray(where.address, where.resources, where.retries)
    else:
        start = on_slurm(store.root / "slurm", where.resources, where.retries, where.slurm)
    failed = run_jobs(
        bundles(parts), store, command=command, data_dir=data_dir, retries=where.retries, start=start, view=view
    )
    store.tidy()
    return failed
