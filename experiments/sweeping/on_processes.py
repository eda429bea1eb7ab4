"""Jobs in several processes on this machine, each with a share of its cores."""

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from ddjax import stopping
from experiments.sweeping.jobs import Ended, Job, environment

_WHOLE_LIFE = contextlib.ExitStack()  # open until the worker process ends
LOOK = 2.0  # seconds between progress updates


def on_processes(count: int) -> Callable[[list[Job]], Iterator[Ended | None]]:
    """A function that runs jobs in `count` processes, because networks for small images cannot use several cores."""
    context = multiprocessing.get_context("spawn")

    def start(jobs: list[Job]) -> Iterator[Ended | None]:
        os.environ.update(environment())  # inherited by the workers
        with contextlib.ExitStack() as pools:
            workers = [
                Worker(lambda share=share: pools.enter_context(ProcessPoolExecutor(1, context, _begin, (share,))))
                for share in shares_of_cores(count)
            ]
            try:
                yield from _run(workers, list(jobs))
            finally:
                if stopping.requested():  # the pools wait until the workers have saved their checkpoints
                    for process in multiprocessing.active_children():
                        process.terminate()

    return start


class Worker:
    """A process, and the methods that it was the first to run: it has their compiled programs."""

    def __init__(self, begin: Callable[[], ProcessPoolExecutor]):
        """Start the process by `begin`, which starts another one when it has died."""
        self.begin, self.pool = begin, begin()
        self.methods: set[str] = set()

    def begun(self, job: Job, workers: list["Worker"]) -> None:
        """Note the methods of a job that no worker has begun before."""
        self.methods |= job.methods - {method for other in workers for method in other.methods}

    def submit(self, job: Job) -> Future:
        """Run a job, in another process if this one died while it waited for work."""
        try:
            return self.pool.submit(job)
        except BrokenProcessPool:
            self.replace()
            return self.pool.submit(job)

    def replace(self) -> None:
        """Start another process in place of a dead one."""
        self.pool, self.methods = self.begin(), set()


def _run(workers: list[Worker], waiting: list[Job]) -> Iterator[Ended | None]:
    """Run all jobs, one at a time on each worker."""
    running: dict[Future, tuple[Job, Worker]] = {}
    while running or waiting:
        busy = [worker for _, worker in running.values()]
        for worker in [worker for worker in workers if worker not in busy][: len(waiting)]:
            job = waiting.pop(following(waiting, worker, workers))
            running[worker.submit(job)] = job, worker
            worker.begun(job, workers)
        done, _ = wait(running, timeout=LOOK, return_when=FIRST_COMPLETED)
        if not done:
            yield None
        for future in done:
            job, worker = running.pop(future)
            try:
                ended = Ended(job, failed=future.result())
            except BrokenProcessPool as error:
                ended = Ended(job, str(error))
                worker.replace()
            yield ended


def following(waiting: list[Job], worker: Worker, workers: list[Worker]) -> int:
    """The index of the next job of a worker: the first one whose method no other worker has begun, else the first one.

    The cells of a seed come before those of the next seed, so all methods are begun before one is repeated, and each is
    repeated where its programs are. At the end, a worker without jobs helps the others.
    """
    elsewhere = {method for other in workers if other is not worker for method in other.methods}
    return next((i for i, job in enumerate(waiting) if not job.methods & elsewhere), 0)


def shares_of_cores(count: int) -> list[set[int]]:
    """Divide the cores of this process among `count` processes; with fewer cores than processes, they are shared."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return [set(cores[i::count]) or set(cores) for i in range(count)]


def _begin(share: set[int]) -> None:
    """Start a worker: pin it to its cores before JAX counts them, handle signals, and exit if the parent dies."""
    _WHOLE_LIFE.enter_context(stopping.in_order())
    if share:
        os.sched_setaffinity(0, share)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
