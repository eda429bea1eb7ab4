"""A group of cells as a job for another process, perhaps on another machine, and what it asks of that machine.

Jobs write into the sweep's directory, which all machines must see under the same path; claims keep two from running
the same cell (flock, which a network file system must carry between hosts, as NFS does). So a job that is run again
does only what is missing, and a scheduler may do with it what it likes.
"""

import dataclasses
import os
import pathlib
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ddjax import ranges
from ddjax.names import unknown
from ddjax.ranges import NonNegative, Positive
from ddjax.storage.checkpoints import SECONDS
from ddjax.storage.files import cache_dir
from ddjax.storage.rows import fingerprint
from experiments.display.progress import View
from experiments.running.config import Experiment
from experiments.running.shared import Shared
from experiments.sweeping.run import failure, run_group, standing
from experiments.sweeping.store import FAILED, Store

# what a worker's numbers and speed depend on besides its job
CARRIED = ("DDJAX_CACHE", "TFDS_DATA_DIR", "GLIBC_TUNABLES", "PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL", "XLA_FLAGS")


@dataclasses.dataclass(frozen=True)
class Resources:
    """What a job asks for.

    Attributes:
      memory: GB of the host; 0 leaves it to the cluster.
      hours: after which Slurm ends the job; it is queued again, and goes on with what is missing.
    """

    cpus: Positive = 1
    gpus: NonNegative = 0
    tpus: NonNegative = 0
    memory: NonNegative = 0
    hours: Positive = 24

    def __post_init__(self) -> None:
        """Refuse what no cluster could give."""
        ranges.fields(self, "resource ")


@dataclasses.dataclass(frozen=True)
class Job:
    """Groups of cells to run in a process of their own, one group after the other."""

    groups: tuple[tuple[Experiment, ...], ...]
    root: str
    command: str
    data_dir: str | None = None
    save_every: float = SECONDS

    @property
    def cells(self) -> list[Experiment]:
        """Of all groups."""
        return [cell for group in self.groups for cell in group]

    def __call__(self) -> list[str]:
        """Run what is missing of the cells; returns the fingerprints of those that failed."""
        store, failed = Store(pathlib.Path(self.root)), []
        shared = shared_of(store, self.data_dir, self.save_every)
        with store.claimed(self.cells) as mine:
            for group in self.groups:
                failed += run_group([cell for cell in group if cell in mine], store, shared, self.command)
        return [fingerprint(cell) for cell in failed]

    def checkpoint(self) -> Any:
        """What submitit asks for when Slurm takes the machine away: the same job once more."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


_SHARED: dict[tuple, Shared] = {}


def shared_of(store: Store, data_dir: str | None, save_every: float = SECONDS) -> Shared:
    """What this process keeps from one job to the next."""
    new = Shared(data_dir, sets=store.distilled, keeping=store.keeping(save_every))
    return _SHARED.setdefault((store.root, data_dir, save_every), new)


class Ended(NamedTuple):
    """A job that is over; `lost` says why it left no rows, where its process died."""

    job: Job
    lost: str | None = None


def environment() -> dict[str, str]:
    """Variables that give another process this one's settings: precision, caches, allocator, import path."""
    import jax

    found = {name: value for name, value in os.environ.items() if name in CARRIED or name.startswith("JAX_")}
    found["DDJAX_CACHE"] = str(cache_dir().absolute())
    for name in ("jax_compilation_cache_dir", "jax_default_matmul_precision"):
        if (value := getattr(jax.config, name)) is not None:
            found[name.upper()] = str(value)
    return found


def resources_of(method: str, given: Iterable[str]) -> Resources:
    """From words such as `gpus=1` for all cells and `random:gpus=0` for those of a method; later ones win."""
    chosen, known = {}, {field.name: field for field in dataclasses.fields(Resources)}
    for word in sorted(given, key=lambda word: ":" in word):
        place, _, setting = word.rpartition(":")
        name, _, value = setting.partition("=")
        if name not in known:
            raise unknown("resource", name, known)
        try:
            number = float(value)
        except ValueError as error:
            raise ValueError(f"a resource is NAME=NUMBER or METHOD:NAME=NUMBER; got {word!r}") from error
        if place in ("", method):
            chosen[name] = int(number) if number.is_integer() else number
    return Resources(**chosen)


def run_jobs(
    parts: list[list[list[Experiment]]],
    store: Store,
    *,
    command: str,
    data_dir: str | None,
    save_every: float = SECONDS,
    retries: int,
    start: Callable[[list[Job]], Iterable[Ended | None]],
    view: View,
) -> list[Experiment]:
    """Run a job for each bundle of groups by `start`, those whose process dies again, up to `retries` times.

    `start` yields jobs as they end, and None now and then where it can, for the view to look at what is done.
    Returns the cells that failed; a cell whose processes all died is written down with that as its reason.
    """
    root = str(store.root.absolute())
    waiting = [Job(tuple(map(tuple, bundle)), root, command, data_dir, save_every) for bundle in parts]
    cells = [cell for job in waiting for cell in job.cells]
    left, failed = dict.fromkeys(cells), 0
    with view.task("cells") as report:
        for attempt in range(retries + 1):
            lost: list[Ended] = []
            for ended in start(waiting):
                over = ended is not None and (ended.lost is None or attempt == retries)
                new = ended.job.cells if over else [cell for cell in left if store.done(cell)]
                new = [cell for cell in new if cell in left]
                for cell in new:
                    failed += store.failed(cell)
                    del left[cell]
                if new:
                    report(len(cells) - len(left), len(cells), standing(new, store, failed))
                lost += [ended] if ended is not None and ended.lost else []
            waiting = [ended.job for ended in lost]
            if not waiting:
                break
            print(f"{len(waiting)} jobs lost their process: {lost[0].lost}", file=sys.stderr)
    for ended in lost:
        for cell in ended.job.cells:
            with store.claimed([cell]) as mine:
                if mine:
                    reason = RuntimeError(f"its process died {retries + 1} times; the last time: {ended.lost}")
                    store.write([failure(cell, reason, 0.0) | {"command": command}])
    rows = {cell: store.row(cell) for cell in cells}
    if elsewhere := sum(row is None for row in rows.values()):
        print(f"{elsewhere} cells are at work in other processes; run this again to see them", file=sys.stderr)
    return [cell for cell, row in rows.items() if row is not None and row["status"] in FAILED]


def extra(name: str) -> ValueError:
    """The error for a package that is not installed."""
    return ValueError(f"--executor {name} needs a package that is not installed: pip install -e '.[{name}]'")
