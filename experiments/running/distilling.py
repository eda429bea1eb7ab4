"""Distilled sets of cells that differ only in labels, rate or seed."""

import dataclasses
import functools
import json
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddjax.distilled import DistilledSet
from ddjax.execution.fleet import distill_all
from ddjax.execution.guard import Diverged, attempted
from ddjax.execution.mesh import distill_over
from ddjax.storage.rows import fingerprint
from ddjax.types import Distiller, Feed, Method, Model, TrainSet
from experiments.display.progress import View
from experiments.running.checkpointing import unscored
from experiments.running.rules import pruned
from experiments.running.shared import Ready, Shared, full_recipe, inside, network

KEPT = 64  # distilled sets that wait for another protocol; they are small


class Distillation(NamedTuple):
    """A distilled set, and how it came about."""

    distilled: DistilledSet
    log: dict[str, np.ndarray]  # the distiller's metrics, one entry per step
    seconds: float  # of this set alone: a fleet's time is divided among its members


def distil_together(cells: list[Ready], shared: Shared, view: View) -> list[Distillation | Diverged]:
    """The set of each cell, or the error of one that diverged.

    Sets that were made before for other scores, here or by other processes, are taken from there.
    """
    keys = [set_of(cell) for cell in cells]
    known = {key: shared.once("distilled", key, dict, keep=KEPT) for key in keys}
    for key, kept in known.items():
        if not kept and (found := shared.sets(key)):
            kept["made"] = Distillation(*found)
    missing = {key: cell for key, cell in zip(keys, cells, strict=True) if not known[key]}
    if missing:
        left = list(missing.values())
        alone = left[0].asked.prune  # what is left after pruning differs in size
        made = [_distil([cell], shared, view)[0] for cell in left] if alone else _distil(left, shared, view)
        for key, distillation in zip(missing, made, strict=True):
            known[key]["made"] = distillation
    return [known[key]["made"] for key in keys]


def set_of(cell: Ready) -> str:
    """The name of a distilled set, from everything that it depends on."""
    plain, own = unscored(cell.experiment), cell.method.model is not None
    network_of = None if own else cell.protocol.network
    return fingerprint([dataclasses.asdict(plain), cell.transform.fingerprint, network_of])


def _distil(cells: list[Ready], shared: Shared, view: View) -> list[Distillation | Diverged]:
    start = time.monotonic()
    method, config, experiment = cells[0].method, cells[0].config, cells[0].experiment
    train = inside(cells[0], shared).train
    shape, k = train.images.shape[1:], train.num_classes
    own = method.model is not None
    model = method.model(config, shape, k) if own else network(experiment, cells[0].protocol.network, shape, k)

    def begun(cell: Ready) -> tuple[Any, Feed, Any]:
        prepare_key, init_key = jax.random.split(jax.random.key(cell.experiment.seed))
        return *method.prepare(config, seen(cell, shared), model, prepare_key), init_key

    found: list[Any] = [attempted(begun, cell) for cell in cells]  # experts of one cell may diverge, say
    left = [i for i, each in enumerate(found) if not isinstance(each, Diverged)]
    if left:
        starts, feeds, keys = (list(column) for column in zip(*(found[i] for i in left), strict=True))
        distiller, steps = _built(method, config, model), method.steps(config)
        with view.task(f"{experiment.method}, {experiment.ipc} images per class") as report:
            network_of = None if own else [cells[0].protocol.network, experiment.network]
            going = [cells[i] for i in left]
            kept = shared.keeping and shared.keeping.checkpoints(going, "distil", network=network_of)
            options = {"steps": steps, "report": report, "checkpoints": kept}
            if shared.mesh is None:
                ended = distill_all(distiller, feeds, starts, keys, **options)
            else:
                over = functools.partial(distill_over, shared.mesh, distiller, split=method.split, **options)
                ended = [attempted(over, *one) for one in zip(feeds, map(distiller.init, keys, starts), strict=True)]
        for i, outcome in zip(left, ended, strict=True):
            found[i] = outcome
            if not isinstance(outcome, Diverged):
                found[i] = _complete(cells[i], distiller.extract(outcome[0])), outcome[1]
    jax.block_until_ready([each[0].images for each in found if not isinstance(each, Diverged)])
    seconds = (time.monotonic() - start) / len(cells)
    return [each if isinstance(each, Diverged) else Distillation(*each, seconds) for each in found]


def seen(cell: Ready, shared: Shared) -> TrainSet:
    """What the distiller sees: all training images, or those whose labels cleanlab leaves."""
    train = inside(cell, shared).train
    if not cell.asked.prune:
        return train
    model = network(cell.experiment, cell.baseline.network, train.images.shape[1:], train.num_classes)
    rows = np.flatnonzero(~pruned(cell, full_recipe(cell), model, shared))
    return dataclasses.replace(
        train, images=jnp.asarray(train.images)[rows], labels=train.labels[rows], ids=train.ids[rows]
    )


@functools.lru_cache(maxsize=16)  # the same record for the same settings, so that its programs are found again
def _built(method: Method, config: Any, model: Model) -> Distiller:
    return method.build(config, model)


def _complete(cell: Ready, distilled: DistilledSet) -> DistilledSet:
    """The set with all that makes it usable elsewhere."""
    provenance = {
        "experiment": dataclasses.asdict(cell.experiment),
        "noise": cell.prepared.noise,
        "space": cell.transform.fingerprint,
        "class_names": cell.dataset.class_names,
    }
    return dataclasses.replace(distilled, preprocess=cell.transform, provenance=json.dumps(provenance, default=str))
