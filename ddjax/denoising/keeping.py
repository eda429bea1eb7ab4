"""Stages of a run kept on disk: each is made once for everything that decides it."""

import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ddjax.distilled import DistilledSet
from ddjax.distilled.saving import load_distilled, save_distilled
from ddjax.storage import manifest
from ddjax.storage.checkpoints import Checkpoints
from ddjax.storage.files import replacing
from ddjax.storage.rows import fingerprint, versions

log = logging.getLogger("ddjax.denoising")

Arrays = dict[str, np.ndarray]

KIND = manifest.Kind("ddjax-denoise-stage", 1, "a stage of denoising")


class Stages:
    """Results of stages, stored in a directory; without a directory nothing is stored."""

    def __init__(self, root: str | pathlib.Path | None):
        """A directory that the first stage makes, or None."""
        self.root = None if root is None else pathlib.Path(root)

    def arrays(self, name: str, decides: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
        """The arrays of a stage: those kept under the fingerprint of what `decides` it, or made now and kept."""
        place = self.place(name, decides)
        if place is None:
            return make()
        path, _ = manifest.paths(place)
        if path.exists():
            try:
                kept, _ = manifest.load(place, KIND)
                log.info("%s of an earlier run are taken from %s", name, path)
                return kept
            except ValueError as error:
                log.warning("the stage is made again: %s", error)
        path.parent.mkdir(parents=True, exist_ok=True)  # an error comes before the work
        made = make()
        manifest.save(place, KIND, made, {})
        self.finished(name, decides)
        return made

    def distilled(
        self, decides: Mapping[str, Any], make: Callable[[], tuple[DistilledSet, float]]
    ) -> tuple[DistilledSet, float]:
        """A distilled set, and the seconds that it took when it was made."""
        place = self.place("distilled", decides)
        if place is None:
            return make()
        clock = place.with_name(place.name + ".seconds")
        if clock.exists():  # written last
            try:
                kept = load_distilled(place), float(clock.read_text())
                log.info("the distilled set of an earlier run is taken from %s", place)
                return kept
            except ValueError as error:
                log.warning("the stage is made again: %s", error)
        made, seconds = make()
        save_distilled(made, place)
        with replacing(clock, "w") as file:
            file.write(f"{seconds:.3f}\n")
        self.finished("distilled", decides)
        return made, seconds

    def finished(self, name: str, decides: Mapping[str, Any]) -> None:
        """Remove the checkpoints of a finished stage."""
        if unfinished := self.checkpoints(name, decides):
            unfinished.clear()

    def checkpoints(self, name: str, decides: Mapping[str, Any]) -> Checkpoints | None:
        """The checkpoints of an unfinished stage."""
        place = self.place(f"unfinished-{name}", decides)
        return None if place is None else Checkpoints(place, decides)

    def place(self, name: str, decides: Mapping[str, Any]) -> pathlib.Path | None:
        """Where a stage of these versions lies, without suffix."""
        return self.root and self.root / f"{name}-{fingerprint({**decides, 'versions': versions()})}"
