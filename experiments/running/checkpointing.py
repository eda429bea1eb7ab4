"""The folders and configurations of the checkpoints of cells."""

import contextlib
import dataclasses
import pathlib
import shutil
from typing import Any

from ddjax.storage.checkpoints import SECONDS, Checkpoints
from ddjax.storage.rows import fingerprint, versions
from experiments.running.config import Experiment

# Settings that affect only the score: cells that differ in nothing else share the distilled set.
SCORING = ("protocol", "baseline", "students", "epochs", "holdout")


@dataclasses.dataclass(frozen=True)
class Keeping:
    """Checkpoints below `root`, with a folder for each experiment or group of experiments.

    Attributes:
      root: the directory.
      seconds: between checkpoints.
      fresh: ignore existing checkpoints.
      wait: wait for another process that does the same work, instead of raising an error.
      used: folders used since `begin`.
    """

    root: pathlib.Path
    seconds: float = SECONDS
    fresh: bool = False
    wait: bool = False
    used: set[pathlib.Path] = dataclasses.field(default_factory=set, init=False, compare=False)

    def begin(self) -> None:
        """Start other work. Checkpoints of earlier work, which may have failed, stay."""
        self.used.clear()

    def checkpoints(self, cells: list[Any], stage: str, **more: Any) -> Checkpoints:
        """The checkpoints of a stage of the cells; the stage "distil" does not depend on how a set is scored."""
        experiments = [unscored(cell.experiment) if stage == "distil" else cell.experiment for cell in cells]
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
        """The folder of a group of experiments."""
        return self.root / fingerprint([dataclasses.asdict(experiment) for experiment in experiments])

    def finished(self, experiments: list[Experiment]) -> None:
        """Delete the checkpoints of these experiments and of groups of them, after their rows are written."""
        self.used.update(map(self.folder, (experiments, [unscored(experiment) for experiment in experiments])))
        while self.used:
            shutil.rmtree(self.used.pop(), ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty: other processes use it
            self.root.rmdir()


def unscored(experiment: Experiment) -> Experiment:
    """The experiment without the settings that affect only the score."""
    return experiment.without(SCORING)
