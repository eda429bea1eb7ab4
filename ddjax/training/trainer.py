"""The one trainer: a scan over steps is an epoch; experts, students and baselines are all trained by it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ddjax import trees
from ddjax.augment import AUGMENTATIONS, cutmix
from ddjax.models import merge_stats, split_stats
from ddjax.names import choose
from ddjax.training.losses import LOSSES
from ddjax.training.recipe import Recipe
from ddjax.training.sharpness import gsam_gradient
from ddjax.types import Metrics, Model, Params, PRNGKey

ORDER, AUGMENT, MIX = range(3)  # the streams of a network's own key


class Examples(NamedTuple):
    """What is trained on: images and targets, preprocessed."""

    images: Float[Array, "n h w c"]
    targets: Float[Array, "n k"]


class TrainState(NamedTuple):
    """A network in training. The rate is an array, so that it can be learned, searched or differ in a fleet."""

    params: Params
    opt_state: optax.OptState
    rate: Float[Array, ""]
    key: PRNGKey  # never advanced: each step folds its own number in


class Clock(NamedTuple):
    """What a fleet's members share: the epoch, and the key from which batch-wide operations are drawn.

    Kept out of the state so that `vmap` over members leaves it unbatched: a drawn operation stays one branch.
    """

    epoch: Int[Array, ""]
    key: PRNGKey


class Trainer(NamedTuple):
    """`init(key, rate) -> state` and `epoch(state, examples, clock) -> (state, metrics)`, both pure."""

    init: Callable[[PRNGKey, Float[Array, ""]], TrainState]
    epoch: Callable[[TrainState, Examples, Clock], tuple[TrainState, Metrics]]


def direction(recipe: Recipe) -> optax.GradientTransformation:
    """The optimiser up to its rate. Weight decay comes before momentum, on all parameters, as in PyTorch."""
    decay = [optax.add_decayed_weights(recipe.weight_decay)] if recipe.weight_decay else []
    if recipe.optimiser == "adam":
        return optax.chain(*decay, optax.scale_by_adam())
    return optax.chain(optax.identity(), *decay, *([optax.trace(recipe.momentum)] if recipe.momentum else []))


def rate_factor(recipe: Recipe, steps_per_epoch: int) -> Callable[[Int[Array, ""]], Float[Array, ""]]:
    """The schedule: step -> what the rate is multiplied by."""
    if recipe.schedule == "drops":
        starts = jnp.array(recipe.drop_epochs, jnp.int32) * steps_per_epoch  # one listed twice counts twice
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
    """Which rows each step of an epoch sees, and their 0/1 weights: a function of (key, epoch)."""
    key, batch, steps = jax.random.fold_in(key, epoch), min(recipe.batch, n), recipe.steps_per_epoch(n)
    if recipe.order == "draws":
        draw = jax.vmap(lambda k: jax.random.choice(k, n, (batch,), replace=False))
        return draw(jax.random.split(key, steps)), jnp.ones((steps, batch))
    rows = jnp.zeros(steps * batch, jnp.int32).at[:n].set(jax.random.permutation(key, n))
    return rows.reshape(steps, batch), (jnp.arange(steps * batch) < n).astype(jnp.float32).reshape(steps, batch)


def renewed(recipe: Recipe, fresh: Params, state: Params, epoch: Int[Array, ""]) -> Params:
    """The optimiser's state at the start of an epoch: a fresh one at drops, where the recipe says so."""
    if not recipe.reset_at_drops:
        return state
    return trees.where(jnp.isin(epoch, jnp.array(recipe.drop_epochs, jnp.int32)), fresh, state)


def make_trainer(model: Model, recipe: Recipe) -> Trainer:
    """The trainer of one network by one recipe."""
    optimiser, loss = direction(recipe), LOSSES[recipe.loss]
    augment = choose(AUGMENTATIONS, recipe.augment, "augmentation")()

    def init(key: PRNGKey, rate: Float[Array, ""]) -> TrainState:
        init_key, own_key = jax.random.split(key)
        params = model.init(init_key)
        return TrainState(params, optimiser.init(split_stats(params)[0]), jnp.asarray(rate, jnp.float32), own_key)

    def step(state: TrainState, images: Array, targets: Array, weights: Array, number: Array, op_key: PRNGKey):
        def key_for(role: int) -> PRNGKey:
            return jax.random.fold_in(jax.random.fold_in(state.key, role), number)

        images = augment(key_for(AUGMENT), images, jax.random.fold_in(op_key, number))
        if recipe.cutmix:
            images, targets = cutmix(key_for(MIX), images, targets, weights, probability=recipe.cutmix)
        trainable, stats = split_stats(state.params)

        def objective(trainable: Params) -> tuple[Array, Params]:
            logits, moved = model.train(merge_stats(trainable, stats), images, weights)
            return jnp.sum(weights * loss(logits, targets)) / jnp.sum(weights), split_stats(moved)[1]

        (value, stats), gradient = jax.value_and_grad(objective, has_aux=True)(trainable)
        if recipe.sharpness is not None:
            gradient = gsam_gradient(
                lambda at: jax.grad(objective, has_aux=True)(at)[0], trainable, gradient, recipe.sharpness
            )
        updates, opt_state = optimiser.update(gradient, state.opt_state, trainable)
        return trainable, stats, updates, opt_state, value

    def epoch(state: TrainState, examples: Examples, clock: Clock) -> tuple[TrainState, Metrics]:
        n = len(examples.images)
        steps = recipe.steps_per_epoch(n)
        factor = rate_factor(recipe, steps)
        rows, weights = rows_of_epoch(recipe, jax.random.fold_in(state.key, ORDER), n, clock.epoch)
        fresh = optimiser.init(split_stats(state.params)[0])
        state = state._replace(opt_state=renewed(recipe, fresh, state.opt_state, clock.epoch))

        def body(state: TrainState, inputs: tuple[Array, Array, Array]) -> tuple[TrainState, Array]:
            index, rows, weights = inputs
            number = clock.epoch * steps + index
            images, targets = examples.images[rows], examples.targets[rows]
            trainable, stats, updates, opt_state, value = step(state, images, targets, weights, number, clock.key)
            rate = state.rate * factor(number)
            params = merge_stats(jax.tree.map(lambda p, u: p - rate * u, trainable, updates), stats)
            return state._replace(params=params, opt_state=opt_state), value

        state, losses = jax.lax.scan(body, state, (jnp.arange(steps), rows, weights))
        return state, {"loss": jnp.mean(losses)}

    return Trainer(init, epoch)
