"""Class probabilities of every training image from networks that did not train on it."""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.ranges import Range, Seed, checked
from ddjax.training import Examples, Recipe, fit, stacked_logits
from ddjax.training.checking import all_finite
from ddjax.types import Model

Folds = Annotated[int, Range(2)]


@checked
def stratified_folds(labels: Int[Any, "n"], folds: Folds, seed: Seed) -> Int[np.ndarray, "n"]:
    """A fold 0 .. folds - 1 for each row; each given class is spread evenly, and sizes differ by one at most."""
    labels = np.asarray(labels)
    if folds > len(labels):
        raise ValueError(f"folds is from 2 to the number of images {len(labels)}; got {folds}")
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]  # by class, at random within
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % folds
    return fold


@checked
def held_out_probabilities(
    model: Model,
    recipe: Recipe,
    examples: Examples,
    key: Array,
    *,
    folds: Folds = 5,
    seed: Seed = 0,
    options: RunOptions = DEFAULTS,
) -> Float[np.ndarray, "n k"]:
    """Cross-validated softmax of plain training on the given labels; costs folds - 1 trainings on everything.

    All networks train on sets of one size (a row that a smaller fold would add is left out), so one program serves.
    `options.report` counts the epochs of all folds.
    """
    fold = stratified_folds(np.asarray(examples.targets).argmax(axis=1), folds, seed)
    size = len(fold) - np.bincount(fold).max()
    probabilities = np.zeros(examples.targets.shape, np.float64)
    for number, one in enumerate(jax.random.split(key, folds)):
        rows, held = np.flatnonzero(fold != number)[:size], np.flatnonzero(fold == number)
        part = Examples(jnp.asarray(examples.images)[rows], jnp.asarray(examples.targets)[rows])
        own = options.part(f"fold-{number}").within(number * recipe.epochs, folds * recipe.epochs)
        fitted = fit(model, recipe, part, one[None], options=own)
        all_finite(fitted.params, fitted.loss, "networks of a fold")
        [logits] = stacked_logits(model, fitted.params, jnp.asarray(examples.images)[held])
        probabilities[held] = jax.nn.softmax(logits)
    return probabilities / probabilities.sum(axis=1, keepdims=True)
