"""Jobs in several processes on this machine, each with a share of its cores."""

import contextlib
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import SimpleQueue

from ddjax import stopping
from experiments.sweeping.jobs import Ended, Job, environment

_WHOLE_LIFE = contextlib.ExitStack()  # open until the worker process ends
LOOK = 2.0  # seconds between progress updates


def on_processes(count: int) -> Callable[[list[Job]], Iterator[Ended | None]]:
    """A function that runs jobs in `count` processes, because networks for small images cannot use several cores."""
    context = multiprocessing.get_context("spawn")

    def start(jobs: list[Job]) -> Iterator[Ended | None]:
        os.environ.update(environment())  # inherited by the workers
        waiting = deque(jobs)
        while waiting:
            shares = context.SimpleQueue()
            for share in shares_of_cores(count):
                shares.put(share)
            with ProcessPoolExecutor(count, context, initializer=_begin, initargs=(shares,)) as pool:
                try:
                    yield from _run(pool, waiting, count)
                finally:
                    if stopping.asked():  # the pool waits until the workers have saved their checkpoints
                        for process in multiprocessing.active_children():
                            process.terminate()

    return start


def _run(pool: ProcessPoolExecutor, waiting: deque[Job], count: int) -> Iterator[Ended | None]:
    """Run jobs from `waiting` until it is empty or a process dies. A death ends the pool and its running jobs."""
    running, whole = {}, True
    while running or (waiting and whole):
        while waiting and whole and len(running) < count:
            job = waiting.popleft()
            running[pool.submit(job)] = job
        done, _ = wait(running, timeout=LOOK, return_when=FIRST_COMPLETED)
        if not done:
            yield None
        for future in done:
            job, lost = running.pop(future), None
            try:
                future.result()
            except BrokenProcessPool as error:
                lost, whole = str(error), False
            yield Ended(job, lost)


def shares_of_cores(count: int) -> list[set[int]]:
    """Divide the cores of this process among `count` processes; with fewer cores than processes, they are shared."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return [set(cores[i::count]) or set(cores) for i in range(count)]


def _begin(shares: SimpleQueue) -> None:
    """Start a worker: pin it to its cores before JAX counts them, handle signals, and exit if the parent dies."""
    _WHOLE_LIFE.enter_context(stopping.in_order())
    if share := shares.get():
        os.sched_setaffinity(0, share)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
