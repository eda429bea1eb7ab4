"""Jobs through submitit: Slurm arrays, or processes on this machine for a test."""

import math
import os
import pathlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from experiments.sweeping.jobs import Ended, Job, Resources, environment, extra, resources_of

POLL = 1.0  # seconds


def on_slurm(
    folder: pathlib.Path, resources: Iterable[str], options: Iterable[str]
) -> Callable[[list[Job]], Iterator[Ended]]:
    """A function that runs jobs by sbatch, one array per set of resources; scripts and logs are in `folder`.

    `options` are NAME=VALUE for sbatch (partition, account, constraint, array_parallelism, ...); `cluster=local` runs
    the same jobs as processes of this machine. Slurm queues a preempted job again, which goes on with what is missing.
    A job that runs out of time is lost, like one that dies: `run_jobs` decides whether it runs again.
    """
    try:
        import submitit
    except ImportError as error:
        raise extra("slurm") from error
    settings = dict(option.partition("=")[::2] for option in options)
    cluster = settings.pop("cluster", "slurm")
    asked = list(resources)

    def start(jobs: list[Job]) -> Iterator[Ended]:
        os.environ.update(environment())  # sbatch passes it on
        by_need: dict[Resources, list[Job]] = defaultdict(list)
        for job in jobs:
            by_need[resources_of(job.cells[0].method, asked)].append(job)
        running = {}
        for need, mine in by_need.items():
            executor = submitit.AutoExecutor(folder=folder, cluster=cluster, slurm_max_num_timeout=0)
            executor.update_parameters(**parameters(need, settings, cluster))
            with executor.batch():
                made = [executor.submit(job) for job in mine]
            running |= dict(zip(made, mine, strict=True))
        while running:
            for handle in [handle for handle in running if handle.done()]:
                job, error = running.pop(handle), handle.exception()
                lost = error is not None
                yield Ended(job, f"{type(error).__name__}: {error}") if lost else Ended(job, failed=handle.result())
            if running:
                time.sleep(POLL)

    return start


def parameters(need: Resources, settings: dict[str, str], cluster: str) -> dict:
    """The resources as arguments of submitit."""
    if need.tpus:
        raise ValueError(f"Slurm has no TPU resource: replace tpus={need.tpus:g} by --slurm partition=NAME")
    for name in ("cpus", "gpus"):
        if (count := getattr(need, name)) != int(count):
            raise ValueError(f"Slurm needs an integer number of {name}; got {name}={count:g}")
    found = {"name": "ddjax", "timeout_min": math.ceil(60 * need.hours), "cpus_per_task": int(need.cpus)}
    found |= {"gpus_per_node": int(need.gpus)} if need.gpus else {}
    found |= {"mem_gb": need.memory} if need.memory else {}
    return found | ({f"slurm_{name}": _number(value) for name, value in settings.items()} if cluster == "slurm" else {})


def _number(value: str) -> int | str:
    return int(value) if value.isdigit() else value
