"""Jobs in several processes of this machine, each with a share of its cores."""

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

_WHOLE_LIFE = contextlib.ExitStack()  # of a process that works
LOOK = 2.0  # seconds between looks at what is done


def on_processes(count: int) -> Callable[[list[Job]], Iterator[Ended | None]]:
    """What runs jobs in `count` processes: networks of small images keep one core busy each, not several."""
    context = multiprocessing.get_context("spawn")

    def start(jobs: list[Job]) -> Iterator[Ended | None]:
        os.environ.update(environment())  # children are born with it
        waiting = deque(jobs)
        while waiting:
            shares = context.SimpleQueue()
            for share in shares_of_cores(count):
                shares.put(share)
            with ProcessPoolExecutor(count, context, initializer=_begin, initargs=(shares,)) as pool:
                try:
                    yield from _run(pool, waiting, count)
                finally:
                    if stopping.asked():  # then so are they, and the pool waits until they have kept what they have
                        for process in multiprocessing.active_children():
                            process.terminate()

    return start


def _run(pool: ProcessPoolExecutor, waiting: deque[Job], count: int) -> Iterator[Ended | None]:
    """Take jobs from `waiting` until it is empty or a process dies, which ends the pool and loses what was at work."""
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
    """The cores that this process may use, dealt out to `count` processes; fewer cores than those are shared."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return [set(cores[i::count]) or set(cores) for i in range(count)]


def _begin(shares: SimpleQueue) -> None:
    """Take a share of the cores, before JAX counts them; end in order, or with the parent, which may be killed."""
    _WHOLE_LIFE.enter_context(stopping.in_order())
    if share := shares.get():
        os.sched_setaffinity(0, share)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
