"""The trainer of a rule: batches, augmentation, optimiser and schedule of the one trainer around a rule's functions."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ddjax import trees
from ddjax.augment import AUGMENTATIONS
from ddjax.models import merge_stats, split_stats
from ddjax.names import choose
from ddjax.robust.rule import Extra, Given, Out, Rule, Seen, Stats, Tables
from ddjax.training import Clock, Examples, Recipe
from ddjax.training.trainer import AUGMENT, MIX, ORDER, direction, rate_factor, renewed, rows_of_epoch
from ddjax.types import Model, Params, PRNGKey

_START, _EXTRA, _RULE, _THIN, _GLANCE, _META, _VIEWS = range(MIX + 1, MIX + 8)  # streams after the trainer's own
_TINY = 1e-12
_CHUNK = 500
_LATE = 2**30  # an epoch after every warm-up: what is learned through a step is learned as if it counted already


class RuleState(NamedTuple):
    """One run of a rule. `params` are the network's, or with two networks both stacked."""

    params: Params
    opt_state: optax.OptState
    rate: Float[Array, ""]
    key: PRNGKey  # never advanced: each step folds its own number in
    tables: Tables
    extra: Extra
    extra_state: optax.OptState


@dataclasses.dataclass(frozen=True)
class RuleTrainer:
    """A rule's `init`, `epoch` and `stats` as pure functions; the fields are all that a program is compiled for."""

    model: Model
    recipe: Recipe
    rule: Rule

    def __post_init__(self) -> None:
        """Refuse what a rule's own loss leaves no place for."""
        for name, none in [("loss", "cross_entropy"), ("cutmix", 0.0), ("sharpness", None)]:
            if (value := getattr(self.recipe, name)) != none:
                raise ValueError(f"a robust rule brings its own loss: recipe.{name} must be {none!r}; got {value!r}")

    def ensemble(self) -> Model:
        """The network of a state's params: for two networks, the mean of their logits."""
        if self.rule.nets == 1:
            return self.model
        return mean_logits(self.model)

    def init(self, key: PRNGKey, rate: Array, examples: Examples, data: Any, params: Params | None = None) -> RuleState:
        """A fresh network (or networks), or the `params` given, and the rule's tables for these examples."""
        init_key, own_key = jax.random.split(key)
        if params is None:
            if self.rule.nets == 1:
                params = self.model.init(init_key)
            else:
                params = jax.vmap(self.model.init)(jax.random.split(init_key, self.rule.nets))
            params = params if self.rule.fresh is None else self.rule.fresh(params)
        one = params if self.rule.nets == 1 else trees.take(params, 0)
        width = jax.eval_shape(self.model.features, one, examples.images[:1]).shape[-1]
        given = Given(jnp.argmax(examples.targets, axis=1), examples.targets.shape[1], width)
        tables = self.rule.start(jax.random.fold_in(own_key, _START), given, data)
        extra = self.rule.extra(jax.random.fold_in(own_key, _EXTRA), given)
        opt_state = direction(self.recipe).init(split_stats(params)[0])
        extra_state = self.rule.extra_optimiser.init(extra)
        return RuleState(params, opt_state, jnp.asarray(rate, jnp.float32), own_key, tables, extra, extra_state)

    def epoch(self, state: RuleState, examples: Examples, clock: Clock) -> tuple[RuleState, dict[str, Array]]:
        """One pass over the examples, then the rule's look at them all where one is due."""
        n, recipe, rule = len(examples.images), self.recipe, self.rule
        steps = recipe.steps_per_epoch(n)
        rows, present = rows_of_epoch(recipe, jax.random.fold_in(state.key, ORDER), n, clock.epoch)
        fresh = direction(recipe).init(split_stats(state.params)[0])
        state = state._replace(opt_state=renewed(recipe, fresh, state.opt_state, clock.epoch))

        def body(state: RuleState, inputs: tuple[Array, Array, Array]) -> tuple[RuleState, Array]:
            index, rows, present = inputs
            number = clock.epoch * steps + index
            rate = state.rate * rate_factor(recipe, steps)(number)
            return self.step(state, examples, rows, present, clock, number, rate)

        state, losses = jax.lax.scan(body, state, (jnp.arange(steps), rows, present))
        if rule.epoch_end is not None:
            end = rule.epoch_end

            def update(tables: Tables) -> Tables:
                key = jax.random.fold_in(jax.random.fold_in(state.key, _GLANCE), clock.epoch)
                return end(self.stats(state.params, examples, key, rule.glances), tables, clock.epoch)

            due = True if rule.due is None else rule.due(clock.epoch)
            state = state._replace(tables=jax.lax.cond(due, update, lambda tables: tables, state.tables))
        return state, {"loss": jnp.mean(losses)}

    def step(
        self,
        state: RuleState,
        examples: Examples,
        rows: Int[Array, "b"],
        present: Float[Array, "b"],
        clock: Clock,
        number: Int[Array, ""],
        rate: Float[Array, ""],
    ) -> tuple[RuleState, Array]:
        """One step of the network and of what is trained beside it."""
        rule = self.rule

        def key_for(role: int) -> PRNGKey:
            return jax.random.fold_in(jax.random.fold_in(state.key, role), number)

        seen = self.batch(key_for, examples, rows, present, clock, number)
        if rule.prepare is not None:
            seen = rule.prepare(key_for(_RULE), seen, state.tables)
        trainable, stats = split_stats(state.params)

        def objective(both: tuple[Params, Extra], seen: Seen) -> tuple[Array, tuple[Params, Tables]]:
            trainable, extra = both
            out, moved = self.forward(merge_stats(trainable, stats), seen, state.tables, key_for(_THIN))
            found = rule.loss(out, seen, state.tables, extra)
            weights = found.weights * seen.present[None]
            total = jnp.sum(weights * found.each, axis=1) / jnp.maximum(jnp.sum(weights, axis=1), _TINY)
            return jnp.sum(total) + found.extra, (split_stats(moved)[1], found.tables)

        (value, (stats, tables)), (gradient, extra_gradient) = jax.value_and_grad(objective, has_aux=True)(
            (trainable, state.extra), seen
        )
        updates, opt_state = direction(self.recipe).update(gradient, state.opt_state, trainable)
        params = merge_stats(jax.tree.map(lambda p, u: p - rate * u, trainable, updates), stats)
        if rule.meta is not None:
            late = seen._replace(epoch=jnp.int32(_LATE))
            inner = functools.partial(objective, seen=late)
            extra_gradient = self.meta_gradient(state, examples, inner, key_for, clock, number, rate)
        extra_updates, extra_state = rule.extra_optimiser.update(extra_gradient, state.extra_state, state.extra)
        extra_rate = rate if rule.extra_rate is None else rule.extra_rate
        extra = jax.tree.map(lambda p, u: p - extra_rate * u, state.extra, extra_updates)
        return RuleState(params, opt_state, state.rate, state.key, tables, extra, extra_state), value

    def meta_gradient(
        self, state: RuleState, examples: Examples, objective: Any, key_for: Any, clock: Clock, number: Array, rate: Any
    ) -> Extra:
        """The gradient of the rule's meta loss, on another batch, through the step that `objective` makes."""
        meta, n = self.rule.meta, len(examples.images)
        assert meta is not None
        size = min(self.recipe.batch, n)
        rows_key, batch_key = jax.random.split(key_for(_META))
        rows = jax.random.choice(rows_key, n, (size,), replace=False)
        other = self.batch(
            lambda role: jax.random.fold_in(batch_key, role), examples, rows, jnp.ones(size), clock, number
        )
        trainable, stats = split_stats(state.params)
        before = jax.lax.stop_gradient(self.forward(state.params, other, state.tables, key_for(_THIN))[0])

        def after(extra: Extra) -> Array:
            gradient = jax.grad(lambda at: objective((at, extra))[0])(trainable)
            updates, _ = direction(self.recipe).update(gradient, state.opt_state, trainable)
            moved = merge_stats(jax.tree.map(lambda p, u: p - rate * u, trainable, updates), stats)
            return meta(before, self.forward(moved, other, state.tables, key_for(_THIN))[0], other, extra)

        return jax.grad(after)(state.extra)

    def batch(self, key_for: Any, examples: Examples, rows: Array, present: Array, clock: Clock, number: Array) -> Seen:
        """The rows' views; the first is augmented as the plain trainer would."""
        images, targets = examples.images[rows], examples.targets[rows]
        views = []
        for view in range(self.rule.views):
            last = view == self.rule.views - 1
            name = self.rule.strong if self.rule.strong is not None and last else self.recipe.augment
            key = key_for(AUGMENT) if view == 0 else key_for(_VIEWS + view)
            op_key = jax.random.fold_in(clock.key, number)
            op_key = op_key if view == 0 else jax.random.fold_in(op_key, view)
            views.append(choose(AUGMENTATIONS, name, "augmentation")()(key, images, op_key))
        labels = jnp.argmax(targets, axis=1)
        return Seen(jnp.stack(views), targets, labels, rows, present, jnp.ones_like(present), clock.epoch)

    def forward(self, params: Params, seen: Seen, tables: Tables, key: PRNGKey) -> tuple[Out, Params]:
        """All networks on all views, which share one batch's running statistics."""
        views, b = seen.images.shape[:2]
        images = seen.images.reshape(views * b, *seen.images.shape[2:])
        present = jnp.tile(seen.present, views)

        def one(params: Params, net: Array) -> tuple[Out, Params]:
            used = params
            if self.rule.thin is not None:
                used = self.rule.thin(jax.random.fold_in(key, net), params, tables, net)
            if self.rule.frozen:
                logits, moved = self.model.apply(used, images), params
            else:
                logits, moved = self.model.train(used, images, present)
            features = self.model.features(used, images).reshape(views, b, -1) if self.rule.features else None
            return Out(logits.reshape(views, b, -1), features), moved

        if self.rule.nets == 1:
            out, moved = one(params, jnp.int32(0))
            return jax.tree.map(lambda leaf: leaf[None], out), moved
        return jax.vmap(one)(params, jnp.arange(self.rule.nets))

    def stats(self, params: Params, examples: Examples, key: PRNGKey, glances: int = 0) -> Stats:
        """What the networks say about all examples, `_CHUNK` at a time."""
        n, rule = len(examples.images), self.rule
        augment = choose(AUGMENTATIONS, self.recipe.augment, "augmentation")()
        stacked = jax.tree.map(lambda leaf: leaf[None], params) if rule.nets == 1 else params
        size = min(_CHUNK, n)
        chunks = jnp.arange(-(-n // size) * size).reshape(-1, size) % n

        def apply(images: Array) -> Array:
            return jax.lax.map(lambda one: self.model.apply(one, images), stacked)

        def chunk(rows: Array) -> Any:
            images, at = examples.images[rows], jax.random.fold_in(key, rows[0])
            features = jax.lax.map(lambda one: self.model.features(one, images), stacked) if rule.features else None
            views = [apply(augment(jax.random.fold_in(at, view), images)) for view in range(glances)]
            return apply(images), features, jnp.stack(views) if views else None

        def joined(parts: Array) -> Array:  # [chunks, ..., size, x] -> [..., n, x]
            parts = jnp.moveaxis(parts, 0, -3)
            return parts.reshape(*parts.shape[:-3], -1, parts.shape[-1])[..., :n, :]

        logits, features, views = jax.tree.map(joined, jax.lax.map(chunk, chunks))
        return Stats(logits, features, views, jnp.argmax(examples.targets, axis=1))


@functools.lru_cache(maxsize=32)  # the same record for the same model, so that its programs are found again
def mean_logits(model: Model) -> Model:
    """The model of several networks (leaves of the params are [nets ...]) whose logits are the mean of theirs."""

    def apply(params: Params, images: Array) -> Array:
        return jnp.mean(jax.vmap(lambda one: model.apply(one, images))(params), axis=0)

    return model._replace(apply=apply)
