"""Jobs of a check-up: commands with time limits, whose output becomes rows. One that fails does not stop the others."""

import concurrent.futures
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Row = dict[str, Any]
SHARED = 0.6  # share of the budget after which jobs that measure no time are stopped
LEAST = 5.0  # seconds below which no job starts
FAILED, SKIPPED = "failed_because", "skipped_because"  # columns of a row about a job that has no result
SAID = 600  # characters of an error that a row keeps


def json_rows(output: str) -> list[Row]:
    """The lines that are JSON objects."""
    rows = []
    for line in output.splitlines():
        if line.startswith("{"):
            try:
                rows.append(json.loads(line))
            except ValueError:  # the last line of a job that was stopped
                continue
    return rows


class Job(NamedTuple):
    """A command and what becomes of its output."""

    section: str
    name: str
    command: Sequence[str]
    limit: float  # seconds
    alone: bool = False  # it measures time, so nothing else runs beside it
    env: Mapping[str, str] = {}
    rows: Callable[[str], list[Row]] = json_rows


class Result(NamedTuple):
    """The rows of a job and its whole output."""

    job: Job
    rows: list[Row]
    output: str


class Clock:
    """The time that is left of a budget."""

    def __init__(self, budget: float):
        """Start now."""
        self.budget, self._start = budget, time.monotonic()
        self._running: set[subprocess.Popen] = set()
        self._stopped = False

    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    @contextlib.contextmanager
    def holding(self, process: subprocess.Popen) -> Iterator[None]:
        """A process that ends with this block, and with `stop`."""
        self._running.add(process)
        try:
            if self._stopped:
                _end(process)
            yield
        finally:
            _end(process)
            self._running.discard(process)

    def stop(self) -> None:
        """End all processes, also those that threads are starting."""
        self._stopped = True
        for process in list(self._running):
            _end(process)

    def left(self, share: float = 1.0) -> float:
        """Seconds until this share of the budget is spent."""
        return share * self.budget - self.spent()


def run_all(jobs: Sequence[Job], clock: Clock, workers: int, done: Callable[[Result], None]) -> None:
    """Run the jobs side by side, `workers` at a time, then those that measure time one after the other.

    Args:
      jobs: all of them.
      clock: no job starts, and none goes on, after its budget is spent; those side by side end at `SHARED` of it.
      workers: number of jobs at a time.
      done: receives each result as soon as it is known, from this thread.
    """
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        begun = [pool.submit(run_one, job, clock) for job in jobs if not job.alone]
        try:
            for ended in concurrent.futures.as_completed(begun):
                done(ended.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            clock.stop()
            raise
    for job in jobs:
        if job.alone:
            done(run_one(job, clock))


def run_one(job: Job, clock: Clock) -> Result:
    """Run a job within its limit and the budget. The last row of a job that failed, or did not start, says why."""
    left, start = clock.left(1.0 if job.alone else SHARED), time.monotonic()
    allowed = min(job.limit, left)
    common = {"section": job.section, "job": job.name}
    if allowed < LEAST:
        why = f"{max(0, left):.0f} s were left for it of the budget of {clock.budget:.0f} s"
        return Result(job, [common | {"name": job.name, SKIPPED: why}], "")
    process = subprocess.Popen(
        job.command,
        env=os.environ | dict(job.env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # so that its own processes can be stopped with it
    )
    with clock.holding(process):
        try:
            output, errors = process.communicate(timeout=allowed)
            error = f"status {process.returncode}: {_last(errors or output)}" if process.returncode else ""
        except subprocess.TimeoutExpired:
            _end(process)
            output, errors = process.communicate()
            error = f"stopped after {allowed:.0f} s; {_last(errors or output)}"
    taken = time.monotonic() - start
    rows = [common | row for row in job.rows(output)]
    if error:
        rows.append(common | {"name": job.name, FAILED: error, "taken_s": taken})
    said = f"$ {' '.join(job.command)}\n{output}\n{errors}\n({taken:.1f} s)\n"
    return Result(job, rows, said)


def _end(process: subprocess.Popen) -> None:
    """End a process, if it runs, and its own processes."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _last(text: str) -> str:
    """The end of an error message, on one line."""
    return " ".join(text[-SAID:].split())
