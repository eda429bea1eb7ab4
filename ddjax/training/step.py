"""A step of training: the gradient of a rule's loss, and the update of its networks and extra parameters."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ddjax.models import merge_stats, split_stats
from ddjax.shuffle import distinct
from ddjax.training.batches import Clock, Examples, KeyFor, TrainState, make_batch
from ddjax.training.losses import LOSSES
from ddjax.training.networks import forward
from ddjax.training.recipe import Recipe
from ddjax.training.rule import PLAIN, Batch, Extra, Loss, Outputs, Rule, Tables, weighted_mean
from ddjax.training.schedule import Stream, direction
from ddjax.training.sharpness import gsam_gradient
from ddjax.types import Model, Params, PRNGKey

_TINY = 1e-12
_LATE = 2**30  # an epoch after every warm-up: the meta step always sees the loss that follows the warm-up


@dataclasses.dataclass(frozen=True)
class Steps:
    """The steps of a training. The fields are everything that a program is compiled for."""

    model: Model
    recipe: Recipe
    rule: Rule = PLAIN

    def step(
        self,
        state: TrainState,
        examples: Examples,
        rows: Int[Array, "b"],
        present: Float[Array, "b"],
        clock: Clock,
        number: Int[Array, ""],
        rate: Float[Array, ""],
    ) -> tuple[TrainState, Array]:
        """One step of the networks and of the rule's extra parameters; returns the state and the loss."""
        rule, optimiser = self.rule, direction(self.recipe)

        def key_for(role: int) -> PRNGKey:
            return jax.random.fold_in(jax.random.fold_in(state.key, role), number)

        batch = make_batch(self.recipe, rule, key_for, examples, rows, present, clock, number)
        if rule.prepare is not None:
            batch = rule.prepare(key_for(Stream.RULE), batch, state.tables)
        if rule.guess is not None:
            seen, _ = forward(self.model, rule, state.params, batch, state.tables, key_for(Stream.MASK))
            batch = rule.guess(key_for(Stream.GUESS), batch, state.tables, jax.lax.stop_gradient(seen))
        trainable, stats = split_stats(state.params)

        def objective(both: tuple[Params, Extra], batch: Batch) -> tuple[Array, tuple[Params, Tables]]:
            trainable, extra = both
            params = merge_stats(trainable, stats)
            outputs, updated = forward(self.model, rule, params, batch, state.tables, key_for(Stream.MASK))
            loss = self.loss(outputs, batch, state.tables, extra)
            weights = loss.weights * batch.present[None]
            means = jnp.sum(weights * loss.values, axis=1) / jnp.maximum(jnp.sum(weights, axis=1), _TINY)
            return jnp.sum(means) + loss.extra, (
                split_stats(updated)[1],
                optax.tree.cast_like(loss.tables, state.tables),
            )

        (value, (stats_after, tables)), (gradient, extra_gradient) = jax.value_and_grad(objective, has_aux=True)(
            (trainable, state.extra), batch
        )
        if self.recipe.sharpness is not None:

            def gradient_at(point: Params) -> Params:
                return jax.grad(objective, has_aux=True)((point, state.extra), batch)[0][0]

            gradient = gsam_gradient(gradient_at, trainable, gradient, self.recipe.sharpness)
        updates, opt_state = optimiser.update(gradient, state.opt_state, trainable)
        params = merge_stats(jax.tree.map(lambda p, u: p - rate * u, trainable, updates), stats_after)
        if rule.meta is not None:
            inner = functools.partial(objective, batch=batch._replace(epoch=jnp.int32(_LATE)))
            extra_gradient = self.meta_gradient(state, examples, inner, key_for, clock, number, rate)
        extra_updates, extra_state = rule.extra_optimiser.update(extra_gradient, state.extra_state, state.extra)
        extra_rate = rate if rule.extra_rate is None else rule.extra_rate
        extra = jax.tree.map(lambda p, u: p - extra_rate * u, state.extra, extra_updates)
        return TrainState(params, opt_state, state.rate, state.key, tables, extra, extra_state), value

    def requested(self, key: PRNGKey, n: int, rows: Int[Array, "b"], number: Int[Array, ""]) -> list[Int[Array, "b"]]:
        """The rows whose images a step requests, in order, when its batch has these rows."""
        if self.rule.meta is None:
            return [rows]
        rows_key, _ = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, Stream.META), number))
        return [rows, self.meta_rows(rows_key, n)]

    def meta_rows(self, key: PRNGKey, n: int) -> Int[Array, "b"]:
        """The rows of the batch of the rule's meta loss."""
        return distinct(key, n, min(self.recipe.batch, n))

    def loss(self, outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        """The rule's loss, or the recipe's if the rule has none."""
        if self.rule.loss is not None:
            return self.rule.loss(outputs, batch, tables, extra)
        return weighted_mean(LOSSES[self.recipe.loss](outputs.logits[0, 0], batch.targets), batch, tables)

    def meta_gradient(
        self,
        state: TrainState,
        examples: Examples,
        objective: Callable[[tuple[Params, Extra]], tuple[Array, Any]],
        key_for: KeyFor,
        clock: Clock,
        number: Int[Array, ""],
        rate: Float[Array, ""],
    ) -> Extra:
        """The gradient of the rule's meta loss, on another batch, through the step that minimises `objective`."""
        meta, optimiser = self.rule.meta, direction(self.recipe)
        assert meta is not None
        rows_key, batch_key = jax.random.split(key_for(Stream.META))
        rows = self.meta_rows(rows_key, len(examples.images))

        present = jnp.ones(len(rows), jnp.float32)

        def other_key(role: int) -> PRNGKey:
            return jax.random.fold_in(batch_key, role)

        other = make_batch(self.recipe, self.rule, other_key, examples, rows, present, clock, number)
        trainable, stats = split_stats(state.params)

        def outputs(params: Params) -> Outputs:
            return forward(self.model, self.rule, params, other, state.tables, key_for(Stream.MASK))[0]

        before = jax.lax.stop_gradient(outputs(state.params))

        def after(extra: Extra) -> Array:
            gradient = jax.grad(lambda point: objective((point, extra))[0])(trainable)
            updates, _ = optimiser.update(gradient, state.opt_state, trainable)
            params = merge_stats(jax.tree.map(lambda p, u: p - rate * u, trainable, updates), stats)
            return meta(before, outputs(params), other, extra)

        return jax.grad(after)(state.extra)
