"""Output of a running sweep: its table, and a report once a seed is complete and again as further cells finish."""

import dataclasses
import pathlib
import time
from collections.abc import Callable

from experiments.reporting.cells import gather
from experiments.reporting.overview import table
from experiments.running.config import Experiment
from experiments.sweeping.store import Store

AGAIN = 60.0  # seconds between two reports, so that they take a small part of the time


@dataclasses.dataclass
class Early:
    """Calls `write` as cells finish, once all cells of some seed are done.

    Attributes:
      cells: of the sweep.
      store: has their rows.
      write: writes the report; its argument says whether the sweep has one more whole seed than at the call before.
      whole: number of whole seeds at the last report.
      last: time of the last report.
    """

    cells: list[Experiment]
    store: Store
    write: Callable[[bool], None]
    whole: int = 0
    last: float = 0.0

    def landed(self) -> None:
        """Write the report if a seed is complete that was not before, or if the last report is old."""
        left = {cell.seed for cell in self.cells if not self.store.done(cell)}
        whole = len({cell.seed for cell in self.cells} - left)
        more = whole > self.whole
        if left and whole and (more or time.monotonic() - self.last > AGAIN):
            self.write(more)
            self.whole, self.last = whole, time.monotonic()


def so_far(cells: list[Experiment], store: Store, page: pathlib.Path) -> str:
    """The table of the runs that are done, and where the page of the report is."""
    rows = [row for cell in cells if (row := store.row(cell)) and row["status"] == "done"]
    when = "so far" if page.exists() else "when all runs of a seed are done"
    where = f"Figures and verdicts {when}, on a page that reloads itself:\n{page}"
    return f"{table(gather(rows))}\n\n{where}" if rows else where
