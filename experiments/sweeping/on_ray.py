"""Jobs as tasks of a Ray cluster, which Ray schedules."""

import sys
from collections.abc import Callable, Iterable, Iterator

from experiments.sweeping.jobs import Ended, Job, environment, extra, resources_of

GB = 10**9


def on_ray(address: str | None, resources: Iterable[str]) -> Callable[[list[Job]], Iterator[Ended]]:
    """Connect to the cluster at `address`, or start one on this machine; returns a function that runs jobs there.

    Ray itself reruns nothing: `jobs.run_jobs` counts how often a process died.
    """
    try:
        import ray
    except ImportError as error:
        raise extra("ray") from error
    if not ray.is_initialized():
        ray.init(address=address, runtime_env={"env_vars": environment()}, log_to_driver=False, include_dashboard=None)
    asked = list(resources)

    def start(jobs: list[Job]) -> Iterator[Ended]:
        running = {}
        for job in jobs:
            need = resources_of(job.cells[0].method, asked)
            task = ray.remote(Job.__call__).options(
                num_cpus=need.cpus,
                num_gpus=need.gpus,
                resources={"TPU": need.tpus} if need.tpus else None,
                memory=int(need.memory * GB) or None,
                max_retries=0,
                name=f"{job.cells[0].method}, {len(job.cells)} cells",
            )
            running[task.remote(job)] = job
        _see_that_it_can_run(ray, [resources_of(job.cells[0].method, asked) for job in jobs])
        while running:
            (done,), _ = ray.wait(list(running), num_returns=1)
            job = running.pop(done)
            try:
                ended = Ended(job, failed=ray.get(done))
            except ray.exceptions.RayError as error:
                ended = Ended(job, f"{type(error).__name__}: {error}".splitlines()[0])
            yield ended

    return start


def _see_that_it_can_run(ray: object, needs: list) -> None:
    """Warn if no node of the cluster has the resources of a job, which then waits for autoscaling."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for need in dict.fromkeys(needs):
        wanted = {"CPU": need.cpus, "GPU": need.gpus, "TPU": need.tpus, "memory": need.memory * GB}
        if not any(all(node.get(name, 0) >= count for name, count in wanted.items()) for node in nodes):
            print(f"no node of the cluster has {need}: such jobs wait until one joins", file=sys.stderr)
