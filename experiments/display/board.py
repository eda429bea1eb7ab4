"""Metrics and scores as TensorBoard reads them."""

import pathlib
import re
from typing import Any

SCORES = ("last_acc", "best_acc", "picked_acc", "membership_auc", "distill_s", "train_s")


class Board:
    """A directory of runs; nothing is opened before the first number."""

    def __init__(self, folder: pathlib.Path):
        """`tensorboard --logdir FOLDER` shows it, also while it grows."""
        try:
            import tensorboardX
        except ImportError as error:
            raise ValueError(
                "--tensorboard needs a package that is not installed: pip install -e '.[tensorboard]'"
            ) from error
        self.folder, self._make = pathlib.Path(folder), tensorboardX.SummaryWriter
        self._run, self._writer = "", None

    def begin(self, run: str) -> None:
        """What follows belongs to the run of this name."""
        self.close()
        self._run = run

    def write(self, group: str, metrics: dict[str, float], step: int) -> None:
        """Numbers of a step, as GROUP/NAME."""
        group = re.sub(r"[^\w.-]+", "_", group)
        if self._writer is None:
            self._writer = self._make(str(self.folder / self._run), flush_secs=10)
        for name, value in metrics.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)

    def scores(self, row: dict[str, Any]) -> None:
        """The scores of a run of its own."""
        self.begin(name_of(row))
        self.write("score", {name: row[name] for name in SCORES if row.get(name) is not None}, 0)
        self.close()

    def close(self) -> None:
        """Everything is on disk afterwards."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def name_of(row: dict[str, Any]) -> str:
    """A run's folder, from a row or the fields of an experiment."""
    size = "all" if row["ipc"] is None or row["method"] == "full" else row["ipc"]
    noise = f"{row['noise']}-{row['rate']:g}" if row["rate"] else row["noise"]
    return f"{row['dataset'].replace('/', '_')}-{noise}-{row['method']}-{size}-{row['fingerprint'][:8]}"
