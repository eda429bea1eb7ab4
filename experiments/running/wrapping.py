"""Wrappers of a distiller: what it sees of the training set, and what the wrapper did to the labels."""

import dataclasses
from typing import Any

import numpy as np

from ddjax.denoising import cleaning
from ddjax.denoising.networks import Networks
from ddjax.types import TrainSet
from experiments.running.methods import PRUNE
from experiments.running.rules import pruned
from experiments.running.shared import Ready, Shared, full_recipe, networks_key, preprocessed

NETWORKS = 3  # that a wrapper trains


def seen(cell: Ready, shared: Shared) -> TrainSet:
    """The training set of the distiller: all images, or what a wrapper makes of them."""
    train = preprocessed(cell, shared).train
    return train if cell.parsed.wrapper is None else cleaning.apply(train, cleaned(cell, shared))


def cleaned(cell: Ready, shared: Shared) -> cleaning.Cleaned:
    """The rows and labels that a wrapper keeps. Methods with equal data, labels and seed share them, and wrappers share
    networks that are trained alike.

    The networks of a wrapper train for their own epochs, those of cleanlab for the baseline's; see `cleaner`.
    """
    experiment, train, name = cell.experiment, preprocessed(cell, shared).train, cell.parsed.wrapper
    if name == PRUNE:
        return cleaning.kept(train, ~pruned(cell, shared))
    assert name is not None
    model, kept = cell.network(cell.baseline.network), shared.checkpoints([cell], "cleaning")
    networks = Networks(model, experiment.seed, NETWORKS, flip=experiment.mirrored, checkpoints=kept)
    key = networks_key(cell, model)

    def made() -> cleaning.Cleaned:
        wrapper = cleaning.WRAPPERS[name]
        seen = shared.once("looked", (wrapper.look, *key), lambda: wrapper.look(train, networks))
        return wrapper.decide(seen, train, experiment.seed)

    return shared.once("cleaned", (name, *key), made)


def cleaner(cell: Ready) -> list[Any]:
    """What the networks of a wrapper depend on besides the distiller's settings: the baseline, and for cleanlab its
    recipe. Empty without a wrapper.
    """
    if cell.parsed.wrapper is None:
        return []
    return [cell.baseline.network, dataclasses.asdict(full_recipe(cell)) if cell.parsed.wrapper == PRUNE else None]


def about(cell: Ready, shared: Shared) -> dict[str, Any]:
    """The column of a wrapper: the share of images that it keeps, and the share of wrong labels among them."""
    if cell.parsed.wrapper is None:
        return {}
    rows, labels = cleaned(cell, shared)
    clean = np.asarray(cell.prepared.audit.labels)
    return {"cleaning": {"kept": len(rows) / len(clean), "wrong": float(np.mean(labels != clean[rows]))}}
