"""The parts of a recipe that do not depend on a network: optimiser, learning-rate schedule and data order."""

import enum
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ddjax.shuffle import distinct, permutation
from ddjax.training.recipe import Recipe
from ddjax.types import Params, PRNGKey


class Stream(enum.IntEnum):
    """Streams of a network's own key: `fold_in(key, stream)` is the key of one use."""

    ORDER = 0
    AUGMENT = 1
    MIX = 2
    START = 3
    EXTRA = 4
    RULE = 5
    MASK = 6
    STATS = 7
    META = 8
    VIEWS = 9  # and on: one for each view
    GUESS = 1000


def direction(recipe: Recipe) -> optax.GradientTransformation:
    """The optimiser without its learning rate.

    Weight decay is added to the gradient before momentum, on all parameters, as in PyTorch; for AdamW after it.
    """
    decay = [optax.add_decayed_weights(recipe.weight_decay)] if recipe.weight_decay else []
    if recipe.optimiser == "adamw":
        return optax.chain(optax.scale_by_adam(), *decay)
    if recipe.optimiser == "adam":
        return optax.chain(*decay, optax.scale_by_adam())
    return optax.chain(optax.identity(), *decay, *([optax.trace(recipe.momentum)] if recipe.momentum else []))


def rate_factor(recipe: Recipe, steps_per_epoch: int) -> Callable[[Int[Array, ""]], Float[Array, ""]]:
    """The schedule: a function from the step number to the factor of the learning rate."""
    if recipe.schedule == "drops":
        starts = jnp.array(recipe.drop_epochs, jnp.int32) * steps_per_epoch  # an epoch listed twice counts twice
        return lambda step: jnp.float32(recipe.drop) ** jnp.sum(step >= starts)
    if recipe.schedule == "warmup_cosine":
        total = recipe.epochs * steps_per_epoch
        if recipe.warmup_steps == 0:
            return optax.cosine_decay_schedule(1.0, total, recipe.floor)
        return optax.warmup_cosine_decay_schedule(0.0, 1.0, recipe.warmup_steps, total, recipe.floor)
    return optax.constant_schedule(1.0)


def rows_of_epoch(
    recipe: Recipe, key: PRNGKey, n: int, epoch: Int[Array, ""]
) -> tuple[Int[Array, "steps b"], Float[Array, "steps b"]]:
    """The rows of each step of an epoch and their 0/1 weights, as a function of (key, epoch)."""
    key, batch, steps = jax.random.fold_in(key, epoch), min(recipe.batch, n), recipe.steps_per_epoch(n)
    if recipe.order == "draws":
        draw = jax.vmap(lambda k: distinct(k, n, batch))
        return draw(jax.random.split(key, steps)), jnp.ones((steps, batch), jnp.float32)
    rows = jnp.zeros(steps * batch, jnp.int32).at[:n].set(permutation(key, n).astype(jnp.int32))
    return rows.reshape(steps, batch), (jnp.arange(steps * batch) < n).astype(jnp.float32).reshape(steps, batch)


def renewed(recipe: Recipe, fresh: Params, state: Params, epoch: Int[Array, ""]) -> Params:
    """The optimiser state at the start of an epoch: `fresh` at drops if the recipe resets it there, else `state`."""
    if not recipe.reset_at_drops:
        return state
    return optax.tree.where(jnp.isin(epoch, jnp.array(recipe.drop_epochs, jnp.int32)), fresh, state)
