"""The records of a training, and its batches: the rows of a step in all views of a rule."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ddjax.augment import AUGMENTATIONS, cutmix
from ddjax.names import choose
from ddjax.preprocess import one_hot
from ddjax.rows import by_rows
from ddjax.training.recipe import Recipe
from ddjax.training.rule import Batch, Extra, Rule, Tables
from ddjax.training.schedule import Stream
from ddjax.types import Params, PRNGKey, TrainSet

KeyFor = Callable[[int], PRNGKey]  # the key of a stream in the current step


class Examples(NamedTuple):
    """The training set: preprocessed images and targets."""

    images: Any  # float [n h w c], or a `rows.Images`
    targets: Float[Array, "n k"]


def examples_of(train: TrainSet) -> Examples:
    """The images of a preprocessed training set, with one-hot targets of the given labels."""
    return Examples(by_rows(train.images), one_hot(jnp.asarray(train.labels), train.num_classes))


class TrainState(NamedTuple):
    """A network in training, or the networks of a rule, whose `params` are then stacked.

    The rate is an array, so that it can be learned, searched or differ between members.
    """

    params: Params
    opt_state: optax.OptState
    rate: Float[Array, ""]
    key: PRNGKey  # constant: each step folds its own number into it
    tables: Tables  # of the rule; empty in plain training, like the next two
    extra: Extra
    extra_state: optax.OptState


class Clock(NamedTuple):
    """The epoch and the key of batch-wide random operations; all members share both.

    It is not part of the state, so `vmap` over members leaves it unbatched and a random operation stays one branch.
    """

    epoch: Int[Array, ""]
    key: PRNGKey


def make_batch(
    recipe: Recipe,
    rule: Rule,
    key_for: KeyFor,
    examples: Examples,
    rows: Int[Array, "b"],
    present: Float[Array, "b"],
    clock: Clock,
    number: Int[Array, ""],
) -> Batch:
    """The batch of a step; the first view is the same for every rule.

    Args:
      recipe: its augmentation and CutMix apply.
      rule: the number of views, and the augmentation of the last one.
      key_for: the network's own key of a stream in this step.
      examples: the training set.
      rows: of the batch.
      present: 0 for rows that only pad the batch.
      clock: the epoch, and the key of batch-wide operations.
      number: of the step.
    """
    images, targets = examples.images[rows], examples.targets[rows]
    labels = jnp.argmax(targets, axis=1)
    views = []
    for view in range(rule.views):
        last = view == rule.views - 1
        name = rule.strong if rule.strong is not None and last else recipe.augment
        key = key_for(Stream.AUGMENT) if view == 0 else key_for(Stream.VIEWS + view)
        op_key = jax.random.fold_in(clock.key, number)
        op_key = op_key if view == 0 else jax.random.fold_in(op_key, view)
        views.append(choose(AUGMENTATIONS, name, "augmentation")()(key, images, op_key))
    if recipe.cutmix:
        views[0], targets = cutmix(key_for(Stream.MIX), views[0], targets, present, probability=recipe.cutmix)
    return Batch(jnp.stack(views), targets, labels, rows, present, jnp.ones_like(present), clock.epoch)
