"""A sweep's directory: one folder per run, named by its fingerprint, written aside and then renamed."""

import contextlib
import json
import os
import pathlib
import secrets
import shutil
from collections.abc import Callable, Iterator
from typing import Any

from ddjax.distilled import DistilledSet
from ddjax.files import replacing
from ddjax.results import fingerprint, to_line
from ddjax.saving import load_distilled
from experiments.config import Experiment

ROW, PLAN = "row.json", "plan.json"
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

    def write(self, row: dict[str, Any], more: Callable[[pathlib.Path], None] = lambda folder: None) -> None:
        """Keep a row and what `more` writes into its folder; nobody ever sees half of it."""
        self.runs.mkdir(parents=True, exist_ok=True)
        aside = self.runs / f".aside-{secrets.token_hex(8)}"
        aside.mkdir()
        try:
            more(aside)
            with replacing(aside / ROW, "w") as file:
                file.write(to_line(row) + "\n")
            place = self.runs / row["fingerprint"]
            if place.exists():  # a failed run; the claim keeps others away
                shutil.rmtree(place)
            os.replace(aside, place)
            if row.get("set"):
                with replacing(self.root / "sets" / row["set"], "w") as file:
                    file.write(row["fingerprint"])
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise

    def distilled(self, name: str) -> tuple[DistilledSet, dict, float] | None:
        """A set that some run made, by its name in the column `set`, with its seconds; the log of its steps is gone."""
        link = self.root / "sets" / name
        folder = self.runs / link.read_text() if link.exists() else None
        if folder is None or not (folder / "distilled.npz").exists():
            return None
        row = json.loads((folder / ROW).read_text())
        return load_distilled(folder / "distilled.npz"), {}, row["distill_s"]

    @contextlib.contextmanager
    def claimed(self, cells: list[Experiment]) -> Iterator[list[Experiment]]:
        """Those of the cells that nobody else is at and that are not done; a claim ends with its process."""
        import fcntl

        folder = self.root / "claims"
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            mine = []
            for cell in cells:
                file = held.enter_context(open(folder / fingerprint(cell), "w"))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                if not self.done(cell):
                    mine.append(cell)
            yield mine

    def tidy(self) -> None:
        """Remove what killed processes left aside, once nobody is at work."""
        import fcntl

        for claim in (self.root / "claims").glob("*"):
            with open(claim) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
        for aside in self.runs.glob(".aside-*"):
            shutil.rmtree(aside, ignore_errors=True)
