"""Save the state of a long computation, find the newest checkpoint, and resume from it bit for bit.

A checkpoint is a folder `step-N`, written under a temporary name, synced and renamed. It holds one .npz with the arrays
of the state and the history of the run, and a manifest with the configuration (see `ddjax.storage.manifest`).
The newest few checkpoints are kept. A damaged one is named in a warning and skipped for the one before it. State is
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
from ddjax.storage.checkpoints.step import KIND, NAME, Changed, Leaf, check_layout, differences, on_host, placed
from ddjax.storage.files import remove, replacing_folder, tidied
from ddjax.storage.locks import alone
from ddjax.storage.manifest import Damaged, Unsupported, load, save
from ddjax.timing import Timer

log = logging.getLogger("ddjax.storage.checkpoints")

T = TypeVar("T")

SECONDS = 60.0  # between checkpoints
SHARE = 20  # writing checkpoints takes at most 1 / SHARE of the time of a run


class Saved(NamedTuple):
    """The content of a checkpoint."""

    step: int  # number of completed steps
    state: Any
    history: dict[str, np.ndarray]  # by name, what was recorded in those steps


class Checkpoints:
    """The checkpoints of one run, in a folder of their own.

    Attributes:
      carried: seconds, without compilation, that earlier processes spent on the state that this run continues from.

    Example:
      >>> import jax.numpy as jnp, tempfile
      >>> checkpoints = Checkpoints(tempfile.mkdtemp() + "/run", {"rate": 0.1})
      >>> checkpoints.save(3, {"x": jnp.ones(2)})
      True
      >>> checkpoints.newest({"x": jnp.zeros(2)}).step
      3
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
        parent: Any = None,
    ):
        """Read and write nothing yet.

        Args:
          folder: of the checkpoints; the first checkpoint makes it.
          config: everything that determines the result of the run, as JSON; `newest` refuses another configuration.
          keep: how many of the newest checkpoints are kept.
          seconds: time between two checkpoints; 0 writes one at every call of `maybe_checkpoint`.
          fresh: remove the existing checkpoints when the run starts.
          wait: wait for another process that holds the folder, instead of raising an error.
          parent: the Checkpoints of the run that this is a part of.

        Raises:
          ValueError: `keep` or `seconds` is out of its range.
        """
        self.folder, self.config = pathlib.Path(folder), json.loads(json.dumps(dict(config), default=str))
        self.keep, self.seconds, self.fresh, self.wait = keep, seconds, fresh, wait
        self._saved, self._cost = time.monotonic(), 0.0
        self._parent, self._timer, self.carried = parent, Timer(), 0.0

    def part(self, name: str, **more: Any) -> "Checkpoints":
        """The checkpoints of one part of the run; `more` is added to the configuration."""
        return Checkpoints(
            self.folder / name,
            {**self.config, name: more},
            keep=self.keep,
            seconds=self.seconds,
            fresh=self.fresh,
            wait=self.wait,
            parent=self,
        )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock of the folder, and remove partial files of killed processes."""
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
        """Whether it is time for another checkpoint."""
        waited = time.monotonic() - self._saved
        return not self.seconds or waited >= max(self.seconds, SHARE * self._cost)

    def save(self, step: int, state: Any, history: Mapping[str, np.ndarray] | None = None) -> bool:
        """Save the state after `step` steps. If writing fails, a warning is logged.

        Args:
          step: number of completed steps.
          state: a pytree of arrays.
          history: arrays by name.

        Returns:
          Whether the checkpoint was written.
        """
        start = time.monotonic()
        try:
            leaves = on_host(state)  # on all processes
            if jax.process_index() == 0:
                self._write(step, leaves, history or {})
        except OSError as error:
            log.warning("no checkpoint of step %d, the run goes on: %s", step, error)
            return False
        finally:
            self._saved = time.monotonic()
            self._cost = self._saved - start
        return True

    def newest(self, like: T) -> Saved | None:
        """The newest intact checkpoint. Process 0 reads it and broadcasts it to the other processes.

        Args:
          like: a state of the same layout, on the devices where the state is to be placed.

        Returns:
          The checkpoint, or None where there is none.

        Raises:
          Changed: it has another configuration, another schema or a state of another layout.
        """
        arrays = from_first(lambda: self._newest(like))
        if arrays is None:
            return None
        self._carry(float(arrays["spent"]))
        parts = {name: self._part(arrays, name) for name in ("state", "history")}
        return Saved(int(arrays["step"]), placed(parts["state"], like), parts["history"])

    @staticmethod
    def _part(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
        prefix = f"{name}/"
        return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}

    def _newest(self, like: Any) -> dict[str, np.ndarray] | None:
        for step, folder in sorted(self._all().items(), reverse=True):
            try:
                arrays, manifest = load(folder / NAME, KIND, ("config", "leaves", "spent"))
            except Damaged as error:
                log.warning("checkpoint %s is damaged (%s) and is skipped for the one before it", folder, error)
                continue
            except Unsupported as error:
                raise Changed(f"{error}, or start anew (--fresh, or fresh=True)") from error
            if changes := differences(manifest["config"], self.config):
                raise Changed(
                    f"{folder} was made under another configuration ({'; '.join(changes)}): go back to that one, "
                    "start anew (--fresh, or fresh=True), or name another directory"
                )
            check_layout(folder, manifest["leaves"], like)
            log.info("going on after step %d, from %s", step, folder)
            return {"step": np.array(step), "spent": np.array(manifest["spent"]), **arrays}
        return None

    def _carry(self, seconds: float) -> None:
        """Add the seconds of earlier processes, here and in the runs that this is a part of."""
        self._timer, self.carried = Timer(), self.carried + seconds
        if self._parent:
            self._parent._carry(seconds)

    def clear(self) -> None:
        """Remove all checkpoints."""
        remove(self.folder)

    def _all(self) -> dict[int, pathlib.Path]:
        folders = {path.name.removeprefix("step-"): path for path in self.folder.glob("step-*")}
        return {int(number): path for number, path in folders.items() if number.isdecimal()}

    def _write(self, step: int, leaves: list[Leaf], history: Mapping[str, np.ndarray]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing_folder(self.folder / f"step-{step:09d}") as aside:
            arrays = {f"state/{i:06d}": leaf.array for i, leaf in enumerate(leaves)}
            arrays |= {f"history/{name}": values for name, values in history.items()}
            spent = round(self.carried + self._timer.steady, 3)
            described = [leaf.described for leaf in leaves]
            save(aside / NAME, KIND, arrays, {"step": step, "spent": spent, "config": self.config, "leaves": described})
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
    """Save the state if a checkpoint is due, a signal asked the process to end, or the run is `broken`.

    Args:
      checkpoints: of the run; None saves nothing.
      step: number of completed steps.
      state: after these steps.
      history: called if a checkpoint is written; returns arrays by name.
      done: the progress of the run, for the message that ends it.
      broken: whether the run ends here with an error.

    Raises:
      Stopped: a signal asked the process to end.
    """
    stop, due = agreed(stopping.requested(), checkpoints is not None and checkpoints.due())
    kept = checkpoints is not None and (stop or due or broken) and checkpoints.save(step, state, history())
    if stop:
        stopping.stop(done + (", and kept" if kept else ""))
