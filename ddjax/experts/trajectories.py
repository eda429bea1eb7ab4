"""The front door: experts by content, from disk where they are, trained where they are not."""

import dataclasses
import hashlib
import logging
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddjax.experts.buffer import Buffer
from ddjax.experts.fleet import Expert, Report, train_experts
from ddjax.experts.identity import check, identity, kept_epochs, parameters, unraveller
from ddjax.preprocess import one_hot
from ddjax.ranges import Count, Seed, checked
from ddjax.storage.files import cache_dir
from ddjax.storage.rows import versions
from ddjax.timing import Share, Timer, charge
from ddjax.training import Examples, Recipe
from ddjax.types import Model, Params, TrainSet

log = logging.getLogger("ddjax.experts")


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectories:
    """The weights of a fleet of experts at some of their epochs.

    A network's parameters are one flat vector. Running statistics of batch norm are part of it, as they are of
    params: a snapshot is a whole network, and `manifest["identity"]["layout"]` tells where `batch_stats` lies.
    """

    array: np.ndarray  # [experts snapshots parameters], float32 or bfloat16; memory-mapped where it was stored
    epochs: tuple[int, ...]  # the epoch after which each snapshot was taken; 0 is the initialisation
    manifest: dict[str, Any]  # "identity": what decides the content; "experts": by number, loss, accuracy, SHA-256
    unravel: Callable[[Any], Params]  # a flat vector -> params; jit-able

    def flat(self, expert: int, epoch: int) -> np.ndarray:
        """float32 [parameters] of one expert after one epoch."""
        if not 0 <= expert < len(self.array):
            raise ValueError(f"expert is a number from 0 to {len(self.array) - 1}; got {expert}")
        return np.asarray(self.array[expert, self._snapshot(epoch)], np.float32)

    def stacked(self, epoch: int) -> Params:
        """The params of all experts after one epoch, each leaf with a leading axis of experts."""
        flat = np.asarray(self.array[:, self._snapshot(epoch)], np.float32)
        return jax.vmap(self.unravel)(jnp.asarray(flat))

    def _snapshot(self, epoch: int) -> int:
        if epoch not in self.epochs:
            raise ValueError(f"no snapshot was kept of epoch {epoch}; kept: {list(self.epochs)}. See keep=.")
        return self.epochs.index(epoch)


@checked
def size(
    model: Model, recipe: Recipe, experts: Count, *, keep: str | Sequence[int] = "all", storage: str = "float32"
) -> int:
    """Bytes of the trajectories that these settings make."""
    return experts * len(kept_epochs(keep, recipe.epochs)) * parameters(model) * jnp.dtype(storage).itemsize


@checked
def trajectories(
    model: Model,
    recipe: Recipe,
    train: TrainSet,
    *,
    experts: Count,
    keep: str | Sequence[int] = "all",
    seed: Seed = 0,
    storage: str = "float32",
    folder: pathlib.Path | None = None,
    store: bool = True,
    how: str = "auto",
    report: Report | None = None,
) -> Trajectories:
    """Experts trained on the given labels of `train`; those already stored are read, the others trained now.

    Args:
      experts: how many. A buffer of more serves fewer, one of fewer is extended.
      keep: epochs whose end is stored, 0 being the initialisation; "all", or "ends" for the first and the last.
      seed: expert i depends on (seed, i) alone.
      storage: "float32", or "bfloat16" for half the size.
      folder: where buffers are kept, each in a folder named by what decides its content; ddjax's cache by default.
      store: False trains in memory and neither reads nor writes a file.
      how: see `training.over_members`; several devices share the experts.
      report: called with (epochs done over all experts to be trained, total, metrics); by default it is logged.
    """
    check(train, storage)
    kept = kept_epochs(keep, recipe.epochs)
    described = identity(model, recipe, train, kept=kept, seed=seed, storage=storage)
    if store and described["program"] is None:
        raise ValueError(
            f"the network {model.spec!r} calls back into Python, so that its experts cannot be told from those of "
            "another network: write it in JAX alone, or train its experts anew in each run (store=False; for DANCE's "
            "pool keep_pool=False)"
        )
    root = pathlib.Path(folder or cache_dir() / "experts")
    buffer = Buffer(root, described, (len(kept), parameters(model)), np.dtype(jnp.dtype(storage)))
    log.info(
        "%d experts x %d snapshots x %d parameters in %s: %.3f GB (%s)",
        experts,
        *buffer.block,
        storage,
        experts * buffer.block_bytes / 1e9,
        buffer.folder if store else "in memory",
    )

    def fleet(numbers: list[int]) -> Iterator[Expert]:
        log.info("%d experts to be trained for %d epochs each", len(numbers), recipe.epochs)
        seen = report or logged()
        examples = Examples(jnp.asarray(train.images), one_hot(jnp.asarray(train.labels), train.num_classes))
        return train_experts(
            model,
            recipe,
            examples,
            seed=seed,
            numbers=numbers,
            kept=kept,
            dtype=buffer.dtype,
            how=how,
            report=seen,
            checkpoints=buffer.checkpoints() if store else None,
        )

    timer = Timer()
    if store:
        records = complete(buffer, experts, fleet)
        array = buffer.open(experts)
    else:
        made = list(fleet(list(range(experts))))
        array, records = np.stack([e.snapshots for e in made]), {e.number: record_of(e) for e in made}
    took = [records[number].get("seconds") for number in range(experts)]
    charge(f"experts {buffer.folder.name}", Share(None if None in took else sum(took), timer.steady))
    manifest = {"identity": described, "experts": {str(number): records[number] for number in range(experts)}}
    return Trajectories(array, kept, manifest, unraveller(model))


def logged(every: float = 10.0) -> Report:
    """A report to the log, at most once in so many seconds; what precedes the first report is mostly compiling."""
    first, last = None, time.monotonic()

    def report(done: int, total: int, metrics: dict[str, float]) -> None:
        nonlocal first, last
        now = time.monotonic()
        first = first or (done, now)
        if now - last >= every and done > first[0]:
            last, left = now, (now - first[1]) * (total - done) / (done - first[0])
            log.info("experts: %d of %d epochs, loss %.3f, %.0f s left", done, total, metrics["loss"], left)

    return report


def complete(buffer: Buffer, experts: int, fleet: Callable[[list[int]], Iterator[Expert]]) -> dict[int, dict[str, Any]]:
    """See that the buffer holds the first `experts`, training what is missing; their records."""
    found = buffer.intact(range(experts))
    if len(found) < experts:
        buffer.make(experts - len(found))
        with buffer.alone():
            found |= buffer.intact(set(range(experts)) - set(found))  # another process may have been at it
            missing = sorted(set(range(experts)) - set(found))
            for number in missing:
                if str(number) in buffer.records():
                    log.warning("expert %d in %s is damaged (SHA-256) and is trained again", number, buffer.folder)
            for expert in fleet(missing) if missing else ():
                found[expert.number] = record_of(expert)
                buffer.write(expert.number, expert.snapshots, found[expert.number])
            buffer.checkpoints().clear()
    return found


def record_of(expert: Expert) -> dict[str, Any]:
    """What the manifest says of an expert; loss and accuracy are on the training images and the labels as given."""
    return {
        "sha256": hashlib.sha256(expert.snapshots.tobytes()).hexdigest(),
        "loss": expert.loss,
        "accuracy": expert.accuracy,
        "seconds": round(expert.seconds, 3),
        "versions": versions(),
    }
