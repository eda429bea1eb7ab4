"""Metrics and scores for TensorBoard."""

import pathlib
import re
from typing import Any

SCORES = ("last_acc", "best_acc", "picked_acc", "membership_auc", "distill_s", "train_s")


class Board:
    """A directory of TensorBoard runs."""

    def __init__(self, folder: pathlib.Path):
        """Open no file yet; `tensorboard --logdir FOLDER` shows the runs, also while they are written."""
        try:
            import tensorboardX
        except ImportError as error:
            raise ValueError(
                "--tensorboard needs a package that is not installed: pip install -e '.[tensorboard]'"
            ) from error
        self.folder, self._make = pathlib.Path(folder), tensorboardX.SummaryWriter
        self._run, self._writer = "", None

    def begin(self, run: str) -> None:
        """Start the run of this name; later metrics belong to it."""
        self.close()
        self._run = run

    def write(self, group: str, metrics: dict[str, float], step: int) -> None:
        """Write the metrics of a step, as GROUP/NAME."""
        group = re.sub(r"[^\w.-]+", "_", group)
        if self._writer is None:
            self._writer = self._make(str(self.folder / self._run), flush_secs=10)
        for name, value in metrics.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)

    def scores(self, row: dict[str, Any]) -> None:
        """Write the scores of a row as a run of its own."""
        self.begin(name_of(row))
        self.write("score", {name: row[name] for name in SCORES if row.get(name) is not None}, 0)
        self.close()

    def close(self) -> None:
        """Write everything to disk and close the files."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def name_of(row: dict[str, Any]) -> str:
    """The folder of a run, from its row or the fields of its experiment."""
    size = "all" if row["ipc"] is None or row["method"] == "full" else row["ipc"]
    noise = f"{row['noise']}-{row['rate']:g}" if row["rate"] else row["noise"]
    return f"{row['dataset'].replace('/', '_')}-{noise}-{row['method']}-{size}-{row['fingerprint'][:8]}"
