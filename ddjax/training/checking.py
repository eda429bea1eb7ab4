"""Checks of a training: its arguments before the start, and its networks afterwards."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddjax import checks
from ddjax.execution.guard import Diverged
from ddjax.rows import HostRows
from ddjax.training.batches import Examples
from ddjax.training.members import Watch
from ddjax.training.recipe import Recipe
from ddjax.training.rule import Rule
from ddjax.types import Params


def check(
    recipe: Recipe, examples: Examples, keys: Array, rates: Any, rule: Rule, data: Any, params: Any, watch: Watch
) -> None:
    """Check the arguments of `fit` before anything is compiled.

    Args:
      recipe: a recipe.
      examples: images and targets; a rule with its own loss needs one-hot targets.
      keys: [s] typed keys.
      rates: [s] positive numbers, or None.
      rule: the training rule.
      data: the rule's data, leaves [s ...].
      params: initial parameters, leaves [s ...], or [s nets ...] for a rule of several networks; or None.
      watch: a label for each image of each watched set, of all networks or of each.

    Raises:
      ValueError: an argument is wrong, or two of them do not fit each other.
    """
    checks.kind(recipe, Recipe, "recipe", "ddjax.Recipe(epochs=10, batch=64, rate=0.01), say")
    checks.kind(examples, Examples, "examples", "Examples(images, targets), both preprocessed")
    checks.keys(keys, "keys")
    checks.kind(rule, Rule, "rule", 'ddjax.robust.make_rule("elr", recipe.epochs), say')
    images, targets = examples
    floats = jnp.issubdtype(targets.dtype, jnp.floating)
    if images.ndim not in (4, 5) or targets.ndim not in (2, 3) or not all(images.shape) or not floats:
        raise ValueError(
            "examples must be images [n h w c] and float targets [n k], at least one, each perhaps with a leading axis "
            f"of networks; got {images.dtype}{list(images.shape)} and {targets.dtype}{list(targets.shape)}. Targets of "
            "class numbers come from preprocess.one_hot or centered."
        )
    if images.shape[-4] != targets.shape[-2]:
        raise ValueError(
            f"examples.images holds {images.shape[-4]} images and examples.targets {targets.shape[-2]} rows: "
            "one row belongs to each image"
        )
    for name, array, most in [("images", images, 5), ("targets", targets, 3)]:
        if array.ndim == most and len(array) != len(keys):
            raise ValueError(f"examples.{name} is for {len(array)} networks, but there are {len(keys)} keys")
        checks.finite(array, f"examples.{name}")
    warm_up(recipe, images.shape[-4])
    names = [name for _, labels in watch.values() for name in labels]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"watch must give each accuracy a name of its own; {twice} come more than once")
    if "loss" in names:
        raise ValueError("watch names an accuracy 'loss', as the loss is named in reports and checkpoints: rename it")
    for part, (watched, labels) in watch.items():
        if isinstance(watched, HostRows) and not isinstance(images, HostRows):
            raise ValueError(
                f"watch[{part!r}] has images on the host and examples has not: keep both in one place, "
                'with images="device" or images="host"'
            )
        for array, most in [(watched, 5), *((array, 2) for array in labels.values())]:
            if np.ndim(array) == most and len(array) != len(keys):
                raise ValueError(
                    f"watch[{part!r}] has images or labels for {len(array)} networks, but there are {len(keys)} keys"
                )
        for name, array in labels.items():
            if jnp.shape(array)[-1:] != (watched.shape[-4],):
                raise ValueError(
                    f"watch must have a label for each image: {name} has labels {list(jnp.shape(array))} for images "
                    f"{list(watched.shape)}"
                )
    if rates is not None and (jnp.shape(rates) != (len(keys),) or not bool(jnp.all(jnp.isfinite(rates) & (rates > 0)))):
        raise ValueError(f"rates must be {len(keys)} positive numbers, one for each network; got {np.asarray(rates)}")
    each = (len(keys),)
    for name, tree, axes in [("data", data, each), ("params", params, each if rule.nets == 1 else (*each, rule.nets))]:
        for leaf in jax.tree.leaves(tree):
            if jnp.shape(leaf)[: len(axes)] != axes:
                raise ValueError(
                    f"{name} must have the leading axes {list(axes)}: keys, then the rule's networks if there are "
                    f"several; got an array {list(jnp.shape(leaf))}. jnp.broadcast_to(x, (*{axes}, *x.shape)) gives "
                    "all the same"
                )
    if rule.loss is not None:
        rows = np.asarray(targets)
        if not ((rows == 0) | (rows == 1)).all() or not (rows.sum(axis=-1) == 1).all():
            raise ValueError(
                "examples.targets must be one-hot rows of the given labels, because the rule corrects labels; "
                "preprocess.one_hot makes them"
            )


def warm_up(recipe: Recipe, n: int) -> None:
    """Raise if the warm-up of a training on `n` images does not end before the training."""
    steps = recipe.epochs * recipe.steps_per_epoch(n)
    if recipe.warmup_steps >= steps:
        raise ValueError(
            f"recipe.warmup_steps must be fewer than the {steps} steps of the training ({recipe.epochs} epochs of "
            f"{n} images); got {recipe.warmup_steps}: shorten the warm-up, or train for more epochs"
        )


def all_finite(params: Params, loss: Float[np.ndarray, "s epochs"], what: str) -> None:
    """Raise if a network diverged: a mean over the others would be the score of a broken run.

    Args:
      params: of all networks, leaves [s ...].
      loss: of each network and epoch.
      what: the networks, for the message.

    Raises:
      Diverged: a weight or a last loss is not finite.
    """
    [error] = diverged(params, loss, what, 1)
    if error:
        raise error


def diverged(params: Params, loss: Float[np.ndarray, "s epochs"], what: str, sets: int) -> list[Diverged | None]:
    """For each training set the error that lists its diverged networks, or None if all of them are finite.

    Args:
      params: of all networks, leaves [s ...]; those of a set are adjacent, and each set has the same number.
      loss: of each network and epoch.
      what: the networks, for the message.
      sets: number of training sets.

    Returns:
      An entry for each set.
    """
    finite = np.isfinite(loss[:, -1]) if loss.size else np.ones(len(loss), bool)
    for leaf in map(np.asarray, jax.tree.leaves(params)):  # on the host, where nothing is compiled for each shape
        finite &= np.isfinite(leaf).all(axis=tuple(range(1, leaf.ndim)))
    return [_error(np.flatnonzero(~part).tolist(), len(part), what) for part in np.split(finite, sets)]


def _error(lost: list[int], count: int, what: str) -> Diverged | None:
    if not lost:
        return None
    return Diverged(
        f"{len(lost)} of {count} {what} diverged (numbers {', '.join(map(str, lost[:20]))}): their weights or losses "
        "are not finite, so there is no score. Use a smaller rate, or images and labels without extreme values."
    )
