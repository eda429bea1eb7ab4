"""Directory of a sweep: one folder per run, named by its fingerprint, written aside and then renamed."""

import contextlib
import dataclasses
import itertools
import json
import logging
import pathlib
import traceback
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from ddjax.distilled import DistilledSet
from ddjax.distilled.saving import load_distilled, save_distilled
from ddjax.storage.checkpoints import SECONDS
from ddjax.storage.files import interrupted, replacing, replacing_folder, tidied
from ddjax.storage.locks import Held, alone
from ddjax.storage.rows import fingerprint, parsed, text_of, to_line
from experiments.running.checkpointing import Keeping
from experiments.running.config import Experiment
from experiments.running.methods import sized
from experiments.running.run import Outcome
from experiments.running.shared import Shared

log = logging.getLogger("ddjax.sweep")

FAILED = ("failed", "failed_nan")  # status of a row without a score; failed_nan: the run diverged
ROW, PLAN = "row.json", "plan.json"
# columns of the cost of a distilled set, and of its wrapper
SPENT = ("distill_s", "distill_steady_s", "shared_s", "space_s", "skipped", "cleaning")
NAMED = ("dataset", "noise", "rate", "method", "ipc", "seed", "protocol")  # columns of the plan


@dataclasses.dataclass(frozen=True)
class Store:
    """The directory of a sweep, and how its cells run. Several processes may share it on one file system.

    Attributes:
      root: the directory, which the first run creates if it is missing.
      command: written into rows.
      save_every: seconds between checkpoints of a cell.
      images: where training images are kept: "device", "host" or "auto".
    """

    root: pathlib.Path
    command: str = ""
    save_every: float = SECONDS
    images: str = "auto"

    @property
    def runs(self) -> pathlib.Path:
        """The folder of the runs."""
        return self.root / "runs"

    def shared(self) -> Shared:
        """A new cache for cells that run in this process."""
        return Shared(sets=self.distilled, keeping=self.keeping(), images=self.images)

    def plan(self, cells: Collection[Experiment], grid: Iterable[Experiment] = ()) -> None:
        """Write the list of planned cells, from which the report determines the missing ones.

        Args:
          cells: to plan.
          grid: all cells of the grid from which they were chosen. Those of them that are planned already stay planned.
        """
        try:
            before = {cell["fingerprint"] for cell in json.loads((self.root / PLAN).read_bytes())}
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            before = set()  # there is none, or it is damaged
        kept = [cell for cell in grid if fingerprint(cell) in before]
        plan = [named(cell) | {"fingerprint": fingerprint(cell)} for cell in dict.fromkeys([*cells, *kept])]
        with replacing(self.root / PLAN, "w") as file:
            json.dump(plan, file)

    def row(self, cell: Experiment) -> dict[str, Any] | None:
        """The cell's row, or None before its first run.

        Raises:
          ValueError: the file is damaged.
        """
        folder = self.runs / fingerprint(cell)
        try:
            row, reason = parsed(text_of(folder / ROW))
        except FileNotFoundError:  # also for a moment while another process replaces the row of a failed run
            return None
        if row is None:
            raise ValueError(f"{folder / ROW} {reason}: remove {folder}, and the cell runs again")
        return row

    def done(self, cell: Experiment) -> bool:
        """Whether the cell has a score. A failed cell runs again."""
        row = self.row(cell)
        return row is not None and row["status"] == "done"

    def keeping(self) -> Keeping:
        """Checkpoints of unfinished cells."""
        return Keeping(self.root / "unfinished", self.save_every, wait=True)

    def write(self, rows: Sequence[dict[str, Any]], outcomes: Sequence[Outcome | Exception] = ()) -> None:
        """Write rows, each into a folder of its own, with the distilled set of an outcome or the traceback of an error.

        All folders are complete before the first one appears, so cells that ran as one program are written together.
        """
        with contextlib.ExitStack() as folders:
            for row, outcome in itertools.zip_longest(rows, outcomes):
                aside = folders.enter_context(replacing_folder(self.runs / row["fingerprint"]))
                if isinstance(outcome, Exception):
                    (aside / "traceback.txt").write_text("".join(traceback.format_exception(outcome)))
                elif outcome and outcome.distilled is not None:
                    save_distilled(outcome.distilled, aside / "distilled")
                (aside / ROW).write_text(to_line(row) + "\n")
        for row in rows:
            if row.get("set"):
                with replacing(self.root / "sets" / row["set"], "w") as file:
                    file.write(row["fingerprint"])

    def distilled(self, name: str) -> tuple[DistilledSet, dict, dict[str, Any]] | None:
        """A stored distilled set, by its name in the column `set`, with an empty log and its cost; or None."""
        link = self.root / "sets" / name
        folder = self.runs / link.read_text() if link.exists() else None
        if folder is None or not (folder / "distilled.npz").exists():
            return None
        row = json.loads((folder / ROW).read_text())
        spent = {column: row[column] for column in SPENT if column in row}
        return load_distilled(folder / "distilled.npz"), {}, spent

    @contextlib.contextmanager
    def claimed(self, cells: list[Experiment]) -> Iterator[list[Experiment]]:
        """Lock cells; yields those that are missing and that no other process runs. Locks end with the process."""
        with contextlib.ExitStack() as claims:
            mine = []
            for cell in cells:
                what = f"{cell.method} on {cell.dataset}, {cell.noise} {cell.rate}, seed {cell.seed}"
                try:
                    claims.enter_context(alone(self.root / "claims" / fingerprint(cell), what))
                except Held as error:
                    log.warning("skipped: %s", error)
                    continue
                if not self.done(cell):
                    mine.append(cell)
            yield mine

    def tidy(self) -> None:
        """Remove incomplete folders of killed processes, except those of cells that another process runs."""
        for name in interrupted(self.runs):
            with contextlib.suppress(Held), alone(self.root / "claims" / name, f"the run {name}"):
                tidied(self.runs, name)


def named(cell: Experiment) -> dict[str, Any]:
    """The columns that name a cell in the plan and in the row of a failed run, as in a row with a score."""
    return {name: getattr(cell, name) for name in NAMED} | {"ipc": cell.ipc if sized(cell.method) else None}
