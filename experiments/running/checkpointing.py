"""Where the cells of a process keep what is not finished, and under what configuration."""

import contextlib
import dataclasses
import pathlib
import shutil
from typing import Any

from ddjax.storage.checkpoints import SECONDS, Checkpoints
from ddjax.storage.rows import fingerprint, versions
from experiments.running.config import Experiment

# What only decides how a set is scored: cells that differ in nothing else share the set.
SCORING = ("protocol", "baseline", "students", "epochs", "holdout")


@dataclasses.dataclass(frozen=True)
class Keeping:
    """Unfinished work lies below `root`, in a folder for each experiment or group of experiments.

    Attributes:
      seconds: between checkpoints.
      fresh: start anew, whatever is there.
      wait: for another process at the same work, rather than refuse.
    """

    root: pathlib.Path
    seconds: float = SECONDS
    fresh: bool = False
    wait: bool = False
    used: set[pathlib.Path] = dataclasses.field(
        default_factory=set, init=False, compare=False
    )  # folders, since `begin`

    def begin(self) -> None:
        """Other work begins: what is kept of the work before it, perhaps failed, stays."""
        self.used.clear()

    def checkpoints(self, cells: list[Any], stage: str, **more: Any) -> Checkpoints:
        """Those of a stage of the cells: "distil", which does not depend on how a set is scored, or another."""
        experiments = [self._decides(cell.experiment, stage) for cell in cells]
        members = {
            f"member {i}": {
                "experiment": dataclasses.asdict(experiment),
                "data": cell.dataset.provenance["digest"],
                "noise": cell.prepared.noise["checksum"],
                "space": cell.transform.fingerprint,
            }
            for i, (experiment, cell) in enumerate(zip(experiments, cells, strict=True))
        }
        folder = self.folder(experiments)
        self.used.add(folder)
        return Checkpoints(
            folder / stage,
            {**(members if len(cells) > 1 else members["member 0"]), "versions": versions(), **more},
            seconds=self.seconds,
            fresh=self.fresh,
            wait=self.wait,
        )

    def folder(self, experiments: list[Experiment]) -> pathlib.Path:
        """Of these experiments together."""
        return self.root / fingerprint([dataclasses.asdict(experiment) for experiment in experiments])

    def finished(self, experiments: list[Experiment]) -> None:
        """Their rows are written: no checkpoint that was used on the way, perhaps of a part of them, is needed."""
        self.used.update(map(self.folder, (experiments, [unscored(experiment) for experiment in experiments])))
        while self.used:
            shutil.rmtree(self.used.pop(), ignore_errors=True)
        with contextlib.suppress(OSError):  # others are at work
            self.root.rmdir()

    def _decides(self, experiment: Experiment, stage: str) -> Experiment:
        return unscored(experiment) if stage == "distil" else experiment


def unscored(experiment: Experiment) -> Experiment:
    """The experiment without what only decides how a set is scored."""
    return dataclasses.replace(
        experiment, **{f.name: f.default for f in dataclasses.fields(Experiment) if f.name in SCORING}
    )
