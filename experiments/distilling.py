"""Distilled sets of cells that differ only in labels, rate or seed."""

import dataclasses
import functools
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddjax.distilled import DistilledSet
from ddjax.fleet import distill_all
from ddjax.mesh import distill_over
from ddjax.results import fingerprint
from ddjax.timing import Share, Timer, ledger
from ddjax.types import Distiller, Method, Model, TrainSet
from experiments.checkpointing import unscored
from experiments.progress import View
from experiments.rules import pruned
from experiments.shared import Ready, Shared, full_recipe, inside, network

KEPT = 64  # distilled sets that wait for another protocol; they are small


class Distillation(NamedTuple):
    """A distilled set, and how it came about."""

    distilled: DistilledSet
    log: dict[str, np.ndarray]  # the distiller's metrics, one entry per step
    spent: dict[str, Any]  # the columns of a row that say what it cost: see `costs`


def distil_together(cells: list[Ready], shared: Shared, view: View) -> list[Distillation]:
    """The sets of all cells; those made before for other scores, here or by other processes, are taken from there."""
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


def _distil(cells: list[Ready], shared: Shared, view: View) -> list[Distillation]:
    timer = Timer()
    method, config, experiment = cells[0].method, cells[0].config, cells[0].experiment
    trains = [seen(cell, shared) for cell in cells]
    shape, k = trains[0].images.shape[1:], trains[0].num_classes
    own = method.model is not None
    model = method.model(config, shape, k) if own else network(experiment, cells[0].protocol.network, shape, k)
    starts, feeds, keys, shares = [], [], [], []
    for cell, train in zip(cells, trains, strict=True):
        prepare_key, init_key = jax.random.split(jax.random.key(cell.experiment.seed))
        with ledger() as share:
            begin, feed = method.prepare(config, train, model, prepare_key)
        starts, feeds, keys, shares = [*starts, begin], [*feeds, feed], [*keys, init_key], [*shares, share]
    distiller = _built(method, config, model)
    with view.task(f"{experiment.method}, {experiment.ipc} images per class") as report:
        steps = method.steps(config)
        network_of = None if own else [cells[0].protocol.network, experiment.network]
        kept = shared.keeping and shared.keeping.checkpoints(cells, "distil", network=network_of)
        options = {"steps": steps, "report": report, "checkpoints": kept}
        if shared.mesh is None:
            states, logs = distill_all(distiller, feeds, starts, keys, **options)
        else:
            found = [
                distill_over(shared.mesh, distiller, *one, split=method.split, **options)
                for one in zip(feeds, map(distiller.init, keys, starts), strict=True)
            ]
            states, logs = zip(*found, strict=True)
    sets = [_complete(cell, distiller.extract(state)) for cell, state in zip(cells, states, strict=True)]
    jax.block_until_ready([each.images for each in sets])
    carried, here = kept.carried if kept else 0.0, sum(one.here for each in shares for one in each.values())
    members = len(cells)
    total, own = (timer.seconds + carried) / members, (timer.steady - here + carried) / members
    spent = [costs(cell, total, own, share) for cell, share in zip(cells, shares, strict=True)]
    return [Distillation(*one) for one in zip(sets, logs, spent, strict=True)]


def costs(cell: Ready, total: float, own: float, shared: dict[str, Share]) -> dict[str, Any]:
    """What a distilled set cost, as columns of its row; a fleet's seconds are divided among its members.

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
