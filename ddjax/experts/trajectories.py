"""Expert trajectories: read from disk if they are stored, trained otherwise."""

import contextlib
import dataclasses
import hashlib
import json
import logging
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddjax import checks
from ddjax.execution.options import DEFAULTS, Report, RunOptions
from ddjax.experts.buffer import Buffer
from ddjax.experts.fleet import Expert, train_experts
from ddjax.experts.identity import Storage, identity, kept_epochs, parameters, unraveller
from ddjax.ranges import Count, Seed, checked
from ddjax.storage.checkpoints.hosts import agreed, from_first
from ddjax.storage.files import cache_dir
from ddjax.storage.rows import versions
from ddjax.timing import Share, Timer, charge
from ddjax.training import Recipe, examples_of
from ddjax.training.checking import warm_up
from ddjax.types import Model, Params, TrainSet

log = logging.getLogger("ddjax.experts")


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectories:
    """The weights of several experts after some of their epochs.

    The parameters of a network are one flat vector, which includes the running statistics of batch norm.
    `manifest["identity"]["layout"]` lists the arrays in the vector.
    """

    array: np.ndarray  # [experts snapshots parameters], float32 or bfloat16; memory-mapped if it is stored
    epochs: tuple[int, ...]  # the epoch after which each snapshot was taken; 0 is the initialisation
    manifest: dict[str, Any]  # "identity": all inputs of the training; "experts": loss, accuracy and SHA-256 by number
    unravel: Callable[[Any], Params]  # a flat vector -> params; works under jit

    def flat(self, expert: int, epoch: int) -> np.ndarray:
        """The parameters of one expert after one epoch, float32 [parameters].

        Raises:
          ValueError: there is no such expert, or no snapshot of this epoch.
        """
        if not 0 <= expert < len(self.array):
            raise ValueError(f"expert must be a number from 0 to {len(self.array) - 1}; got {expert}")
        return np.asarray(self.array[expert, self._snapshot(epoch)], np.float32)

    def stacked(self, epoch: int) -> Params:
        """The params of all experts after one epoch; each leaf has a leading axis of experts."""
        flat = np.asarray(self.array[:, self._snapshot(epoch)], np.float32)
        return jax.vmap(self.unravel)(jnp.asarray(flat))

    def _snapshot(self, epoch: int) -> int:
        if epoch not in self.epochs:
            raise ValueError(f"no snapshot was kept of epoch {epoch}; kept: {list(self.epochs)}. Choose with keep=.")
        return self.epochs.index(epoch)


@checked
def size(
    model: Model, recipe: Recipe, experts: Count, *, keep: str | Sequence[int] = "all", storage: Storage = "float32"
) -> int:
    """The size in bytes of the trajectories of these settings; arguments as for `trajectories`."""
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
    storage: Storage = "float32",
    folder: pathlib.Path | None = None,
    store: bool = True,
    options: RunOptions = DEFAULTS,
) -> Trajectories:
    """Train experts on the given labels of `train`. Stored experts are read, and only the missing ones are trained.

    Args:
      model: the network.
      recipe: how each expert is trained.
      train: images in the space of a preprocessing, with labels.
      experts: their number. A larger stored buffer serves fewer experts, and a smaller one is extended.
      keep: epochs after which a snapshot is stored, with 0 for the initialisation; "all", or "ends" for the first and
        the last.
      seed: expert i depends on (seed, i) only.
      storage: "float32", or "bfloat16" for half the size.
      folder: of the buffers; by default in the cache of ddjax. Each buffer has a folder named by a hash of its inputs.
      store: whether files are read and written.
      options: progress over the epochs of all experts to be trained (by default it is logged), and how members run;
        several devices share the experts. Stored experts have checkpoints of their own in `folder`.

    Returns:
      The trajectories.

    Raises:
      ValueError: an argument is out of range, or the trajectories do not fit on the disk.
      Diverged: an expert diverged; it is not stored.

    Example:
      >>> from ddjax.models import build
      >>> from ddjax.testing import toy_train
      >>> model = build("mlp", (8, 8, 3), 3, width=4)
      >>> trajectories(model, Recipe(epochs=1, batch=10, rate=0.1), toy_train(), experts=1, store=False).epochs
      (0, 1)
    """
    checks.learnable(train)
    warm_up(recipe, len(train.labels))
    kept = kept_epochs(keep, recipe.epochs)
    described = identity(model, recipe, train, kept=kept, seed=seed, storage=storage)
    if store and described["program"] is None:
        raise ValueError(
            f"the network {model.spec!r} calls back into Python, so its experts cannot be distinguished from those "
            "of another network: write it in JAX only, or train its experts in each run (store=False; for the pool of "
            "DANCE keep_pool=False)"
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

    unfinished = options.checkpoints and options.checkpoints.part("experts", **described)

    def fleet(numbers: list[int]) -> Iterator[Expert]:
        log.info("%d experts to be trained for %d epochs each", len(numbers), recipe.epochs)
        return train_experts(
            model,
            recipe,
            examples_of(train),
            seed=seed,
            numbers=numbers,
            kept=kept,
            dtype=buffer.dtype,
            options=dataclasses.replace(
                options,
                report=options.report or logged(),
                checkpoints=buffer.checkpoints() if store else unfinished,
            ),
            stores=store,
        )

    timer = Timer()
    if store:
        records = complete(buffer, experts, fleet)
        array = shared(buffer, experts)
    else:
        made = list(fleet(list(range(experts))))
        array, records = np.stack([e.snapshots for e in made]), {e.number: record_of(e) for e in made}
    took = [records[number].get("seconds") for number in range(experts)]
    charge(f"experts {buffer.folder.name}", Share(None if None in took else sum(took), timer.steady))
    manifest = {"identity": described, "experts": {str(number): records[number] for number in range(experts)}}
    return Trajectories(array, kept, manifest, unraveller(model))


def logged() -> Report:
    """A report that logs progress at most once in ten seconds. Time before the first call is mostly compilation."""
    first, last = None, time.monotonic()

    def report(done: int, total: int, metrics: dict[str, float]) -> None:
        nonlocal first, last
        now = time.monotonic()
        first = first or (done, now)
        if now - last >= 10 and done > first[0]:
            last, left = now, (now - first[1]) * (total - done) / (done - first[0])
            log.info("experts: %d of %d epochs, loss %.3f, %.0f s left", done, total, metrics["loss"], left)

    return report


def complete(buffer: Buffer, experts: int, fleet: Callable[[list[int]], Iterator[Expert]]) -> dict[int, dict[str, Any]]:
    """Train those of the first `experts` that the buffer lacks, and return the records of all.

    Training contains collectives, so all processes of a run must train the same experts. Process 0 alone looks for
    missing experts, holds the lock and writes; every process trains what process 0 lacks.
    """
    records: dict[int, dict[str, Any]] = {}

    def missing() -> dict[str, np.ndarray]:
        records.update(buffer.intact(set(range(experts)) - set(records)))
        numbers = sorted(set(range(experts)) - set(records))
        if numbers:
            buffer.make(len(numbers))
        return {"numbers": np.array(numbers, int)}

    writes = jax.process_index() == 0
    if len(from_first(missing)["numbers"]):
        with buffer.alone() if writes else contextlib.nullcontext():
            numbers = from_first(missing)["numbers"].tolist()  # another run may have trained some before the lock
            for number in numbers if writes else ():
                if str(number) in buffer.records():
                    log.warning("expert %d in %s is damaged (SHA-256) and is trained again", number, buffer.folder)
            for expert in fleet(numbers) if numbers else ():
                if writes:
                    records[expert.number] = record_of(expert)
                    buffer.write(expert.number, expert.snapshots, records[expert.number])
            if writes:
                buffer.checkpoints().clear()
    sent = from_first(lambda: {"records": np.array(json.dumps([records[number] for number in range(experts)]))})
    return dict(enumerate(json.loads(str(sent["records"]))))


def shared(buffer: Buffer, experts: int) -> np.ndarray:
    """The blocks of the first experts, mapped if every process can read them; else process 0 sends them."""
    lacking = jax.process_index() > 0 and len(buffer.intact(range(experts))) < experts
    if not any(agreed(lacking)):
        return buffer.open(experts)
    blocks = (from_first(lambda i=i: {"block": buffer.open(experts)[i]}) for i in range(experts))
    return np.stack([block["block"].view(buffer.dtype) for block in blocks])


def record_of(expert: Expert) -> dict[str, Any]:
    """The record of an expert in the manifest; loss and accuracy are on the training images and the given labels."""
    return {
        "sha256": hashlib.sha256(expert.snapshots.tobytes()).hexdigest(),
        "loss": expert.loss,
        "accuracy": expert.accuracy,
        "seconds": round(expert.seconds, 3),
        "versions": versions(),
    }
