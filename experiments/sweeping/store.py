"""A sweep's directory: one folder per run, named by its fingerprint, written aside and then renamed."""

import contextlib
import itertools
import json
import logging
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ddjax.distilled import DistilledSet
from ddjax.distilled.saving import load_distilled
from ddjax.storage.checkpoints import SECONDS
from ddjax.storage.files import replacing, replacing_folder, tidied
from ddjax.storage.locks import Held, alone
from ddjax.storage.rows import fingerprint, to_line
from experiments.running.checkpointing import Keeping
from experiments.running.config import Experiment

log = logging.getLogger("ddjax.sweep")

FAILED = ("failed", "failed_nan")  # the status of a row without a score; the second: its numbers were not finite
ROW, PLAN = "row.json", "plan.json"
SPENT = ("distill_s", "distill_steady_s", "shared_s", "space_s")  # what a distilled set cost
NAMED = ("dataset", "noise", "rate", "method", "ipc", "seed", "protocol")  # what tells cells of a plan apart


class Store:
    """What is in a sweep's directory. Any number of processes on one file system may work on it."""

    def __init__(self, root: pathlib.Path):
        """An existing directory or one that the first run makes."""
        self.root = pathlib.Path(root)
        self.runs = self.root / "runs"

    def plan(self, cells: list[Experiment]) -> None:
        """Write down what is wanted, for the report to say what is missing."""
        plan = [{"fingerprint": fingerprint(cell), **{name: getattr(cell, name) for name in NAMED}} for cell in cells]
        with replacing(self.root / PLAN, "w") as file:
            json.dump(plan, file)

    def row(self, cell: Experiment) -> dict[str, Any] | None:
        """The cell's row, None where it has not been run."""
        path = self.runs / fingerprint(cell) / ROW
        return json.loads(path.read_text()) if path.exists() else None

    def done(self, cell: Experiment) -> bool:
        """Whether the cell has a score; a failed one is wanted again."""
        row = self.row(cell)
        return row is not None and row["status"] == "done"

    def failed(self, cell: Experiment) -> bool:
        """Whether the cell's row says why it has no score."""
        row = self.row(cell)
        return row is not None and row["status"] in FAILED

    def keeping(self, seconds: float = SECONDS) -> Keeping:
        """Where unfinished cells are kept."""
        return Keeping(self.root / "unfinished", seconds, wait=True)

    def write(self, rows: Sequence[dict[str, Any]], leave: Sequence[Callable[[pathlib.Path], None]] = ()) -> None:
        """Write rows, each into a folder of its own, which the function in `leave` may add files to.

        All folders are complete before the first one appears, so cells that ran as one program are written together.
        """
        with contextlib.ExitStack() as folders:
            for row, fill in itertools.zip_longest(rows, leave):
                aside = folders.enter_context(replacing_folder(self.runs / row["fingerprint"]))
                if fill:
                    fill(aside)
                (aside / ROW).write_text(to_line(row) + "\n")
        for row in rows:
            if row.get("set"):
                with replacing(self.root / "sets" / row["set"], "w") as file:
                    file.write(row["fingerprint"])

    def distilled(self, name: str) -> tuple[DistilledSet, dict, dict[str, Any]] | None:
        """A set that some run made, by its name in the column `set`, and its cost; the log of its steps is gone."""
        link = self.root / "sets" / name
        folder = self.runs / link.read_text() if link.exists() else None
        if folder is None or not (folder / "distilled.npz").exists():
            return None
        row = json.loads((folder / ROW).read_text())
        spent = {column: row[column] for column in SPENT if column in row}
        return load_distilled(folder / "distilled.npz"), {}, spent

    @contextlib.contextmanager
    def claimed(self, cells: list[Experiment]) -> Iterator[list[Experiment]]:
        """Those of the cells that nobody else is at and that are not done; a claim ends with its process."""
        with contextlib.ExitStack() as claims:
            mine = []
            for cell in cells:
                what = f"{cell.method} on {cell.dataset}, {cell.noise} {cell.rate}, seed {cell.seed}"
                try:
                    claims.enter_context(alone(self.root / "claims" / fingerprint(cell), what))
                except Held as error:
                    log.warning("left out: %s", error)
                    continue
                if not self.done(cell):
                    mine.append(cell)
            yield mine

    def tidy(self) -> None:
        """Remove what killed processes left aside, once nobody is at work."""
        try:
            with contextlib.ExitStack() as claims:
                for claim in (self.root / "claims").glob("*"):
                    claims.enter_context(alone(claim, "a cell"))
                tidied(self.runs)
        except Held:
            return
