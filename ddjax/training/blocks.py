"""Epochs in blocks: between two blocks a training reports, writes a checkpoint, and can be stopped."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddjax.execution.options import RunOptions
from ddjax.execution.proxies import as_arrays
from ddjax.storage.checkpoints import checkpoint_scope, digest, maybe_checkpoint
from ddjax.training.recipe import Recipe
from ddjax.types import Metrics

BLOCKS = 20  # in one training


class Course(NamedTuple):
    """The loss and the watched accuracies of a training; see `Fit`."""

    loss: Float[np.ndarray, "s epochs"]
    seen: dict[str, Float[np.ndarray, "s seen"]]
    at: list[int]


def run_epochs(
    run: Callable[[Any, Array], tuple[Any, tuple[Array, Metrics]]],
    states: Any,
    epochs: int,
    every: int,
    final: bool,
    options: RunOptions,
) -> tuple[Any, Course]:
    """Run all epochs, one block at a time.

    Args:
      run: maps (states, epochs of a block) to (new states, (losses, accuracies)).
      states: of all members.
      epochs: of the training.
      every: accuracies are kept after each `every` epochs.
      final: they are kept after the last epoch.
      options: the report is called after each block; states are stored between blocks, and resumed from there.

    Returns:
      The last states, and the course of the training.
    """
    report, checkpoints = options.report, options.checkpoints
    block, first = max(1, -(-epochs // BLOCKS)), 0
    losses, seen = [], []
    with checkpoint_scope(checkpoints):
        if checkpoints and (saved := checkpoints.newest(states)):
            first, states = saved.step, saved.state
            losses, seen = [saved.history.pop("loss")], [saved.history]
        while first < epochs:
            states, (loss, accuracies) = run(states, jnp.arange(first, first + block))
            count = min(block, epochs - first)
            losses.append(np.asarray(loss)[:, :count])
            columns = [epoch - 1 - first for epoch in _due(first, first + count, every, epochs, final)]
            seen.append({name: np.asarray(values)[:, columns] for name, values in accuracies.items()})
            first += count
            if report:
                newest = {name: float(values[:, -1].mean()) for name, values in seen[-1].items() if values.size}
                report(first, epochs, {"loss": float(losses[-1][:, -1].mean()), **newest})
            done = f"{first} of {epochs} epochs are done"
            maybe_checkpoint(checkpoints, first, states, lambda: {"loss": _columns(losses), **_seen(seen)}, done)
    return states, Course(_columns(losses), _seen(seen), _due(0, epochs, every, epochs, final))


def decides(network: str, recipe: Recipe, every: int, final: bool, *arrays: Any) -> dict[str, Any]:
    """Everything that decides the numbers of a training, for its checkpoints."""
    return {
        "network": network,
        "recipe": dataclasses.asdict(recipe),
        "every": every,
        "final": final,
        "arrays": [digest(as_arrays(array)) for array in arrays],
    }


def _due(first: int, last: int, every: int, epochs: int, final: bool) -> list[int]:
    """The epochs after `first` and up to `last` after which accuracies are recorded."""
    return [e for e in range(first + 1, last + 1) if (final if e == epochs else e % every == 0)]


def _columns(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts, axis=1)


def _seen(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: _columns([part[name] for part in parts]) for name in parts[0]}
