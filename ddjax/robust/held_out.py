"""Cross-validated class probabilities of all training images."""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.ranges import Range, Seed, checked
from ddjax.rows import part_of
from ddjax.training import Examples, Recipe, fit, stacked_logits
from ddjax.training.checking import all_finite
from ddjax.training.rule import PLAIN, Rule
from ddjax.types import Model

Folds = Annotated[int, Range(2)]


@checked
def stratified_folds(labels: Int[Any, "n"], folds: Folds, seed: Seed) -> Int[np.ndarray, "n"]:
    """Assign each row to a fold. Each given class is divided evenly, and fold sizes differ by at most one.

    Raises:
      ValueError: there are more folds than rows, or a number is out of range.

    Example:
      >>> import numpy as np
      >>> from ddjax.robust.held_out import stratified_folds
      >>> np.bincount(stratified_folds(np.array([0, 0, 1, 1]), 2, seed=0)).tolist()
      [2, 2]
    """
    labels = np.asarray(labels)
    if folds > len(labels):
        raise ValueError(f"folds must be from 2 to the number of images {len(labels)}; got {folds}")
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]  # by class, in random order within each
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
    rule: Rule = PLAIN,
    options: RunOptions = DEFAULTS,
) -> Float[np.ndarray, "n k"]:
    """Cross-validated softmax probabilities of training on the given labels.

    The cost is that of folds - 1 trainings on all images. All networks train on sets of the same size, so they share
    one program; the extra row that a smaller fold leaves for training is dropped.

    Args:
      model: the architecture.
      recipe: of each network.
      examples: images and one-hot given labels.
      key: of the networks.
      folds: their number.
      seed: of the folds.
      rule: how each network is trained; one without data.
      options: progress over the epochs of all folds, and checkpoints, in a part for each fold.

    Returns:
      Rows that sum to one.

    Raises:
      ValueError: an argument is wrong; see `fit` and `stratified_folds`.
      Diverged: a network is not finite.
    """
    fold = stratified_folds(np.asarray(examples.targets).argmax(axis=1), folds, seed)
    size = len(fold) - np.bincount(fold).max()
    probabilities = np.zeros(examples.targets.shape, np.float64)
    for number, fold_key in enumerate(jax.random.split(key, folds)):
        rows, held = np.flatnonzero(fold != number)[:size], np.flatnonzero(fold == number)
        part = Examples(part_of(examples.images, rows), jnp.asarray(examples.targets)[rows])
        own = options.part(f"fold-{number}").within(number * recipe.epochs, folds * recipe.epochs)
        fitted = fit(model, recipe, part, fold_key[None], rule=rule, options=own)
        all_finite(fitted.params, fitted.loss, "networks of a fold")
        [logits] = stacked_logits(fitted.model, fitted.params, part_of(examples.images, held))
        probabilities[held] = jax.nn.softmax(logits)
    return probabilities / probabilities.sum(axis=1, keepdims=True)
