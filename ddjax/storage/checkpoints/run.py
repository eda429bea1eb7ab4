"""Checkpoints: the one way in which anything that runs for long is kept, found again and gone on with, bit for bit.

A checkpoint is a folder `step-N`, written aside, synced and renamed: the arrays of a pytree, the history of the run so
far, and a manifest that vouches for both by SHA-256 and says under what configuration they were made. The last few
are kept; a damaged one is named and skipped for the one before it. State is
replicated across the hosts of a run (see `ddjax.execution.mesh`), so process 0 writes the checkpoint. On resuming,
process 0 reads it and broadcasts the state, and the other hosts need no files.
"""

import contextlib
import json
import logging
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from ddjax import stopping
from ddjax.ranges import Count, NonNegative, checked
from ddjax.storage.checkpoints.hosts import agreed, from_first
from ddjax.storage.checkpoints.step import (
    HISTORY,
    Changed,
    Damaged,
    Leaf,
    differences,
    on_host,
    placed,
    read_arrays,
    read_manifest,
    read_state,
    write_step,
)
from ddjax.storage.files import remove, replacing_folder, tidied
from ddjax.storage.locks import alone
from ddjax.timing import Timer

log = logging.getLogger("ddjax.storage.checkpoints")

T = TypeVar("T")

SECONDS = 60.0  # between checkpoints
SHARE = 20  # at most one part in so many of a run's time goes into writing them


class Saved(NamedTuple):
    """What a checkpoint held."""

    step: int  # how many steps are done
    state: Any
    history: dict[str, np.ndarray]  # by name, what was recorded of those steps


class Checkpoints:
    """The checkpoints of one run, in a folder of their own.

    Attributes:
      carried: seconds, without compiling, that earlier processes spent on what this one went on with.
    """

    @checked
    def __init__(
        self,
        folder: str | pathlib.Path,
        config: Mapping[str, Any],
        *,
        keep: Count = 2,
        seconds: NonNegative = SECONDS,
        fresh: bool = False,
        wait: bool = False,
        whole: Any = None,
    ):
        """Nothing is read or written yet.

        Args:
          folder: made by the first checkpoint.
          config: everything that decides the run's numbers, as JSON has it; another one is refused on resuming.
          keep: how many of the newest checkpoints stay.
          seconds: between two; 0 writes one whenever the run comes up for air.
          fresh: start anew, whatever is there.
          wait: for another process that is at it, rather than refuse.
          whole: the Checkpoints of the run that this is a part of.
        """
        self.folder, self.config = pathlib.Path(folder), json.loads(json.dumps(dict(config), default=str))
        self.keep, self.seconds, self.fresh, self.wait = keep, seconds, fresh, wait
        self._spoke, self._cost = time.monotonic(), 0.0
        self._whole, self._timer, self.carried = whole, Timer(), 0.0

    def part(self, name: str, **more: Any) -> "Checkpoints":
        """Those of one part of the run, with what else decides it."""
        return Checkpoints(
            self.folder / name,
            {**self.config, name: more},
            keep=self.keep,
            seconds=self.seconds,
            fresh=self.fresh,
            wait=self.wait,
            whole=self,
        )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else writes here meanwhile; what killed processes left half written is removed."""
        if jax.process_index():
            yield
            return
        lock = self.folder.with_name(self.folder.name + ".lock")
        with alone(lock, f"the run in {self.folder}", wait=self.wait):
            if self.fresh:
                self.clear()
                self.fresh = False
            tidied(self.folder)
            yield

    def due(self) -> bool:
        """Whether it is time for another one."""
        waited = time.monotonic() - self._spoke
        return not self.seconds or waited >= max(self.seconds, SHARE * self._cost)

    def save(self, step: int, state: Any, history: Mapping[str, np.ndarray] | None = None) -> bool:
        """Keep the state after `step` steps; where that fails the run goes on, and what was there before stands."""
        start = time.monotonic()
        try:
            leaves = on_host(state)  # which all hosts of a run do together
            if jax.process_index() == 0:
                self._write(step, leaves, history or {})
        except OSError as error:
            log.warning("no checkpoint of step %d, the run goes on: %s", step, error)
            return False
        finally:
            self._spoke = time.monotonic()
            self._cost = self._spoke - start
        return True

    def newest(self, like: T) -> Saved | None:
        """The newest intact checkpoint, or None; of several hosts the first one reads it, and sends it to the others.

        Args:
          like: a state of the same layout, on the devices where the state is to be.

        Raises:
          Changed: it was made under another configuration, or holds a state of another layout.
        """
        found = from_first(lambda: self._newest(like))
        if found is None:
            return None
        self._carry(float(found["spent"]))
        parts = {name: self._part(found, name) for name in ("state", "history")}
        return Saved(int(found["step"]), placed(parts["state"], like), parts["history"])

    @staticmethod
    def _part(found: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
        prefix = f"{name}/"
        return {key.removeprefix(prefix): array for key, array in found.items() if key.startswith(prefix)}

    def _newest(self, like: Any) -> dict[str, np.ndarray] | None:
        for step, folder in sorted(self._all().items(), reverse=True):
            try:
                manifest = read_manifest(folder)
                if changes := differences(manifest["config"], self.config):
                    raise Changed(
                        f"{folder} was made under another configuration ({'; '.join(changes)}): go back to that one, "
                        "start anew (--fresh, or fresh=True), or name another directory"
                    )
                parts = {"state": read_state(folder, manifest, like), "history": read_arrays(folder / HISTORY)}
            except Damaged as error:
                log.warning("checkpoint %s is damaged (%s) and is skipped for the one before it", folder, error)
                continue
            log.info("going on after step %d, from %s", step, folder)
            arrays = {f"{part}/{name}": array for part, inner in parts.items() for name, array in inner.items()}
            return {"step": np.array(step), "spent": np.array(manifest.get("spent", 0.0)), **arrays}
        return None

    def _carry(self, seconds: float) -> None:
        """Count what earlier processes spent, here and in the runs that this is a part of."""
        self._timer, self.carried = Timer(), self.carried + seconds
        if self._whole:
            self._whole._carry(seconds)

    def clear(self) -> None:
        """Remove all checkpoints."""
        remove(self.folder)

    def _all(self) -> dict[int, pathlib.Path]:
        found = {path.name.removeprefix("step-"): path for path in self.folder.glob("step-*")}
        return {int(number): path for number, path in found.items() if number.isdecimal()}

    def _write(self, step: int, leaves: list[Leaf], history: Mapping[str, np.ndarray]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing_folder(self.folder / f"step-{step:09d}") as aside:
            write_step(aside, step, self.config, leaves, history, self.carried + self._timer.steady)
        for _, old in sorted(self._all().items(), reverse=True)[self.keep :]:
            remove(old)


@contextlib.contextmanager
def checkpoint_scope(checkpoints: Checkpoints | None) -> Iterator[None]:
    """Defer signals to the calls of `maybe_checkpoint`, and hold the lock of the checkpoints."""
    with stopping.deferred(), checkpoints.held() if checkpoints else contextlib.nullcontext():
        yield


def maybe_checkpoint(
    checkpoints: Checkpoints | None,
    step: int,
    state: Any,
    history: Callable[[], Mapping[str, np.ndarray]],
    done: str,
    *,
    broken: bool = False,
) -> None:
    """Keep the state after `step` steps where that is due, or the run ends here: `broken`, or asked to by a signal.

    `done` says how far the run has come, for who stopped it.
    """
    stop, due = agreed(stopping.asked(), checkpoints is not None and checkpoints.due())
    kept = checkpoints is not None and (stop or due or broken) and checkpoints.save(step, state, history())
    if stop:
        stopping.stop(done + (", and kept" if kept else ""))
