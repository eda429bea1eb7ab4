"""Jobs: groups of cells for another process or machine, with the resources that they need.

Jobs write into the sweep's directory, which all machines must see under the same path. File locks (flock) keep two jobs
from running the same cell; a network file system must support them between hosts, as NFS does. A job that runs again
runs only missing cells, so a scheduler may stop and restart it at any time.
"""

import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ddjax import ranges
from ddjax.names import check_known
from ddjax.ranges import NonNegative, Positive
from ddjax.storage.files import cache_dir
from ddjax.storage.rows import fingerprint
from experiments.display.progress import View
from experiments.running.config import Experiment
from experiments.running.methods import parse
from experiments.running.shared import Shared
from experiments.sweeping.run import failure, run_group, standing
from experiments.sweeping.store import Store

# variables that affect the results or the speed of a worker
CARRIED = ("DDJAX_CACHE", "TFDS_DATA_DIR", "GLIBC_TUNABLES", "PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL", "XLA_FLAGS")


@ranges.settings("resource ")
class Resources:
    """Resources of a job.

    Attributes:
      memory: GB on the host; 0 for the default of the cluster.
      hours: time limit of the Slurm job, which is then queued again and runs the missing cells.
    """

    cpus: Positive = 1
    gpus: NonNegative = 0
    tpus: NonNegative = 0
    memory: NonNegative = 0
    hours: Positive = 24


@dataclasses.dataclass(frozen=True)
class Job:
    """Groups of cells that one process runs, one group after the other."""

    groups: tuple[tuple[Experiment, ...], ...]
    store: Store

    @property
    def cells(self) -> list[Experiment]:
        """The cells of all groups."""
        return [cell for group in self.groups for cell in group]

    @property
    def methods(self) -> set[str]:
        """The methods of the cells; each needs programs of its own."""
        return {cell.method for cell in self.cells}

    def __call__(self) -> list[str]:
        """Run the missing cells; returns the fingerprints of those that failed."""
        failed = []
        with self.store.claimed(self.cells) as mine:
            for group in self.groups:
                failed += run_group([cell for cell in group if cell in mine], self.store, shared_of(self.store))
        return [fingerprint(cell) for cell in failed]

    def checkpoint(self) -> Any:
        """Called by submitit when Slurm preempts the job: submit it again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@functools.cache
def shared_of(store: Store) -> Shared:
    """Data and results that this process shares between jobs."""
    return store.shared()


class Ended(NamedTuple):
    """A finished job: the reason if its process died, else what it returned."""

    job: Job
    lost: str | None = None
    failed: Sequence[str] = ()  # fingerprints of the cells that failed


def environment() -> dict[str, str]:
    """Environment variables that give another process the same precision, caches, allocator and import path."""
    import jax

    found = {name: value for name, value in os.environ.items() if name in CARRIED or name.startswith("JAX_")}
    found["DDJAX_CACHE"] = str(cache_dir().absolute())
    for name in ("jax_compilation_cache_dir", "jax_default_matmul_precision"):
        if (value := getattr(jax.config, name)) is not None:
            found[name.upper()] = str(value)
    return found


def resources_of(method: str, given: Iterable[str]) -> Resources:
    """Resources of a method, from words such as `gpus=1` for all cells or `random:gpus=0` for the cells of a method."""
    chosen, known = {}, {field.name: field for field in dataclasses.fields(Resources)}
    for word in sorted(given, key=lambda word: ":" in word):
        place, _, setting = word.rpartition(":")
        if place:
            parse(place)  # reports an unknown method
        name, _, value = setting.partition("=")
        check_known("resource", name, known)
        try:
            number = float(value)
        except ValueError as error:
            raise ValueError(f"--resources takes NAME=NUMBER or METHOD:NAME=NUMBER; got {word!r}") from error
        if place in ("", method):
            chosen[name] = int(number) if number.is_integer() else number
    return Resources(**chosen)


def run_jobs(
    parts: list[list[list[Experiment]]],
    store: Store,
    *,
    retries: int,
    start: Callable[[list[Job]], Iterable[Ended | None]],
    view: View,
    landed: Callable[[], None],
) -> list[Experiment]:
    """Run one job per bundle of groups; rerun a job whose process died, up to `retries` times.

    `start` runs jobs. It yields each job when it ends, and sometimes None, so that progress is updated.
    `landed` is called when cells have a row.

    Returns:
      The cells that failed here. The row of a cell that has none after its processes died gives that as the reason.
    """
    store = dataclasses.replace(store, root=store.root.absolute())
    waiting = [Job(tuple(map(tuple, bundle)), store) for bundle in parts]
    cells = [cell for job in waiting for cell in job.cells]
    left, failed, before = dict.fromkeys(cells), set[str](), {cell: store.row(cell) for cell in cells}
    with view.task("cells") as report:
        for attempt in range(retries + 1):
            lost: list[Ended] = []
            for ended in start(waiting):
                failed |= set(ended.failed if ended is not None else ())
                over = ended is not None and (ended.lost is None or attempt == retries)
                new = ended.job.cells if over else [cell for cell in left if store.done(cell)]
                new = [cell for cell in new if cell in left]
                for cell in new:
                    del left[cell]
                if new:
                    report(len(cells) - len(left), len(cells), standing(new, store, len(failed)))
                    landed()
                lost += [ended] if ended is not None and ended.lost else []
            waiting = [ended.job for ended in lost]
            if not waiting:
                break
            print(f"the processes of {len(waiting)} jobs died: {lost[0].lost}", file=sys.stderr)
    for ended in lost:
        for cell in ended.job.cells:
            with store.claimed([cell]) as mine:
                if mine and store.row(cell) == before[cell]:  # else it failed by itself, and its row says why
                    words = f"its process died or ran out of time {retries + 1} times; the last time: {ended.lost}"
                    store.write([failure(cell, RuntimeError(words), 0.0) | {"command": store.command}])
                failed |= {fingerprint(cell) for cell in mine}
    if elsewhere := sum(not store.done(cell) and fingerprint(cell) not in failed for cell in cells):
        print(
            f"{elsewhere} cells are running in other processes; repeat this command for their results", file=sys.stderr
        )
    return [cell for cell in cells if fingerprint(cell) in failed]


def extra(name: str) -> ValueError:
    """The error for an executor whose package is not installed."""
    return ValueError(f"--executor {name} needs a package that is not installed: pip install -e '.[{name}]'")
