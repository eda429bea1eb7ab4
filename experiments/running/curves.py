"""Accuracy of a distilled set against steps, and of training on the whole set against epochs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ddjax import trees
from ddjax.distilled import DistilledSet
from ddjax.distillers.setup import set_up
from ddjax.execution.distill import distill
from ddjax.execution.fleet import init_members
from ddjax.execution.guard import intact
from ddjax.precision import default, policy
from experiments.display.progress import View
from experiments.running.config import Experiment
from experiments.running.distilling import seen
from experiments.running.full import train_on_all
from experiments.running.scoring import score_students
from experiments.running.shared import Ready, Shared, make_ready

Curve = dict[str, list[float]]  # column -> a value at each step or epoch


def curves(cells: list[Experiment], at: Sequence[float], shared: Shared, view: View) -> list[Curve]:
    """The curve of each cell; cells differ only in labels and seeds.

    A distilled set is taken after shares `at` of the cell's steps, in one run: no method depends on the number of steps
    still to come. Each is scored by fresh students. Training on the whole set is scored after each of its epochs.

    Args:
      cells: of one method and configuration.
      at: shares of the number of steps, in ascending order; 1 is the cell's own number.
      shared: has the data.
      view: shows progress.

    Returns:
      For each cell "steps" and "accuracy"; or "epochs", "accuracy" and "memorised" (accuracy against the given labels).

    Raises:
      Diverged: a run diverged.
    """
    with policy(cells[0].precision or default()):
        ready = [make_ready(cell, shared) for cell in cells]
        if ready[0].parsed.on_all:
            scored = [intact(outcome)[0].curves for outcome in train_on_all(ready, shared, view)]
            made = []
            for curve in scored:
                accuracy, memorised = (np.mean(curve[name], axis=0).tolist() for name in ("test_acc", "given_acc"))
                made.append({"epochs": [*range(1, len(accuracy) + 1)], "accuracy": accuracy, "memorised": memorised})
            return made
        if ready[0].parsed.wrapper and len(cells) > 1:  # cleaned sets differ in size
            return [curve for cell in cells for curve in curves([cell], at, shared, view)]
        whole = ready[0].method.steps(ready[0].config)
        stops = sorted({round(share * whole) for share in at})
        sets = snapshots(ready, stops, shared)
        outcomes = score_students(ready * len(stops), [one for row in sets for one in row], shared, view)
    accuracy = np.array([intact(outcome)[1]["last_acc"] for outcome in outcomes]).reshape(len(stops), -1)
    return [{"steps": stops, "accuracy": accuracy[:, i].tolist()} for i in range(len(cells))]


def snapshots(cells: list[Ready], stops: Sequence[int], shared: Shared) -> list[list[DistilledSet]]:
    """The distilled set of each cell after each number of steps. A run of so many steps gives the same set."""
    first = cells[0]
    trains = [seen(cell, shared) for cell in cells]
    keys = [jax.random.split(jax.random.key(cell.experiment.seed)) for cell in cells]
    model = None if first.method.model else first.network(first.protocol.network)
    setups = [
        set_up(first.method, first.config, train, key, model) for train, (key, _) in zip(trains, keys, strict=True)
    ]
    distiller, feeds = setups[0].distiller, [setup.feed for setup in setups]
    states: Any = init_members(distiller, [key for _, key in keys], [setup.start for setup in setups])
    done, made = 0, []
    for stop in stops:
        if stop > done:
            chunk = max(1, -(-stops[-1] // 50))  # one program for all parts
            ended = [intact(end) for end in distill(distiller, feeds, states, steps=stop, first=done, chunk=chunk)]
            states, done = trees.stack([state for state, _ in ended]), stop
        members = [trees.take(states, i) for i in range(len(cells))]
        made.append(
            [
                dataclasses.replace(distiller.extract(member), preprocess=cell.transform)
                for member, cell in zip(members, cells, strict=True)
            ]
        )
    return made
