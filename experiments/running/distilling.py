"""Distilled sets of cells that differ only in labels, rate or seed."""

import dataclasses
import functools
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddjax.distilled import DistilledSet
from ddjax.execution.fleet import distill_all
from ddjax.execution.guard import Diverged, attempted
from ddjax.execution.mesh import distill_over
from ddjax.storage.rows import fingerprint
from ddjax.timing import Share, Timer, ledger
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
    spent: dict[str, Any]  # the columns of a row that say what it cost: see `costs`


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
    timer = Timer()
    method, config, experiment = cells[0].method, cells[0].config, cells[0].experiment
    train = inside(cells[0], shared).train
    shape, k = train.images.shape[1:], train.num_classes
    own = method.model is not None
    model = method.model(config, shape, k) if own else network(experiment, cells[0].protocol.network, shape, k)

    def begun(cell: Ready) -> tuple[Any, Feed, Any, dict[str, Share]]:
        prepare_key, init_key = jax.random.split(jax.random.key(cell.experiment.seed))
        with ledger() as share:
            start, feed = method.prepare(config, seen(cell, shared), model, prepare_key)
        return start, feed, init_key, share

    prepared = [attempted(begun, cell) for cell in cells]  # experts of one cell may diverge, say
    found: list[Any] = list(prepared)
    left = [i for i, each in enumerate(prepared) if not isinstance(each, Diverged)]
    carried = 0.0
    if left:
        starts, feeds, keys, _ = (list(column) for column in zip(*(prepared[i] for i in left), strict=True))
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
        carried = kept.carried if kept else 0.0
    jax.block_until_ready([each[0].images for each in found if not isinstance(each, Diverged)])
    shares = {i: prepared[i][3] for i in left}
    here = sum(one.here for share in shares.values() for one in share.values())
    total, own_seconds = ((seconds + carried) / len(cells) for seconds in (timer.seconds, timer.steady - here))
    return [
        each if isinstance(each, Diverged) else Distillation(*each, costs(cell, total, own_seconds, shares[i]))
        for i, (cell, each) in enumerate(zip(cells, found, strict=True))
    ]


def costs(cell: Ready, total: float, own: float, shared: dict[str, Share]) -> dict[str, Any]:
    """What a distilled set cost, as columns of its row; the seconds of a fleet are divided among its members.

    distill_s: seconds in all, those of earlier processes included. distill_steady_s: without compiling and without
    what several runs share. shared_s: that, in full, by name. space_s: fitting the space of the images, in full.
    """
    return {
        "distill_s": round(total, 2),
        "distill_steady_s": round(max(0.0, own), 2),
        "shared_s": {name: one.whole for name, one in shared.items()},
        "space_s": round(cell.space_s, 3),
    }


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
