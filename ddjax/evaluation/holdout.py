"""Accuracy on a hold-out of the noisy training set, by which an epoch can be picked without clean labels."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddjax.evaluation.baselines import Baseline
from ddjax.execution.guard import Diverged
from ddjax.execution.options import RunOptions
from ddjax.rows import part_of
from ddjax.training import Examples, fit
from ddjax.training.checking import diverged
from ddjax.training.fit import for_each
from ddjax.types import Model, TrainSet

# (rows of the set to train on, None for all) -> a function with the arguments and the result of `fit`
Trainers = Callable[[np.ndarray | None], Callable[..., Any]]


def plain_trainers(rows: np.ndarray | None) -> Callable[..., Any]:
    """Plain training, for any rows."""
    return fit


def holdout_size(n: int, share: float) -> int:
    """The number of images in a hold-out: at least one."""
    return max(1, round(n * share))


def holdout_accuracy(
    baseline: Baseline,
    trains: list[TrainSet],
    examples: list[Examples],
    *,
    students: int,
    model: Model,
    holdout: float,
    seed: int,
    trainers: Trainers,
    options: RunOptions,
) -> tuple[Float[np.ndarray, "s epochs"], list[Diverged | None]]:
    """Accuracy against the given labels of a hold-out after each epoch, of networks that did not train on it.

    Returns:
      The accuracies, and for each set the error if one of its networks diverged.
    """
    rows = np.random.default_rng(seed).permutation(len(trains[0].labels))
    count = holdout_size(len(rows), holdout)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), students)
    held, kept = np.sort(rows[:count]), np.sort(rows[count:])

    def part(arrays: list[Any], rows: np.ndarray) -> Any:
        taken = {id(array): part_of(array, rows) for array in arrays}  # shared arrays stay shared
        return for_each([taken[id(array)] for array in arrays], students)

    images = [train.images for train in trains]
    fitted = trainers(kept)(
        model,
        baseline.recipe,
        Examples(part(images, kept), part([example.targets for example in examples], kept)),
        jnp.concatenate([keys] * len(trains)),
        watch={"held": (part(images, held), {"holdout_acc": part([train.labels for train in trains], held)})},
        every=1,
        options=options,
    )
    return fitted.seen["holdout_acc"], diverged(fitted.params, fitted.loss, "networks of the hold-out", len(trains))
