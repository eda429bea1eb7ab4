"""Training several runs of one rule as one compiled program, watched as `ddjax.training.fit` watches."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.ranges import Count, checked
from ddjax.robust.rule import Findings, Rule
from ddjax.robust.trainer import RuleState, RuleTrainer
from ddjax.training import Clock, Examples, Recipe, Watch, accuracy, over_members, predict
from ddjax.training.fit import decides, in_blocks, members_own
from ddjax.types import Metrics, Model, Params


class RobustFit(NamedTuple):
    """What `ddjax.training.Fit` holds, and what each run says about its given labels at the end.

    `params` leaves are [s ...], with two networks [s 2 ...]; `model` reads one run's.
    """

    params: Params
    loss: Float[np.ndarray, "s epochs"]
    seen: dict[str, Float[np.ndarray, "s seen"]]
    at: list[int]
    model: Model
    findings: Findings  # leaves [s n ...]
    states: RuleState


@checked
def robust_fit(
    model: Model,
    recipe: Recipe,
    rule: Rule,
    examples: Examples,
    keys: Array,
    *,
    data: Any = None,
    params: Params | None = None,
    rates: Float[Array, "s"] | None = None,
    watch: Watch | None = None,
    every: Count | None = None,
    options: RunOptions = DEFAULTS,
) -> RobustFit:
    """Train one run of the rule per key, by `recipe` but for the loss.

    Args:
      examples: images and one-hot given labels; or with a leading axis more on either, each run's own.
      keys: [s] typed keys.
      data: what the rule's `start` asks for, leaves [s ...]: a transition matrix, a teacher.
      params: leaves [s ...] to start from instead of fresh networks.
      rates, watch, every, options: as in `ddjax.training.fit`; the configuration of the checkpoints must name the rule,
        whose functions cannot be written down.
    """
    targets = np.asarray(examples.targets)
    if not ((targets == 0) | (targets == 1)).all() or not (targets.sum(axis=-1) == 1).all():
        raise ValueError("examples.targets must be one-hot rows of the given labels: a rule corrects labels, not mixes")
    watch = jax.tree.map(jnp.asarray, watch or {})
    every = every or recipe.epochs
    rates = jnp.full(len(keys), recipe.rate) if rates is None else rates
    if checkpoints := options.checkpoints:
        checkpoints = checkpoints.part("fit", **decides(recipe, every, examples, keys, rates, watch, data, params))
    trainer = RuleTrainer(model, recipe, rule)
    start, run, finish = _programs(trainer, every, options.how)
    states, course = in_blocks(
        lambda states, epochs: run(states, examples, watch, epochs, jax.random.key(0)),
        start(keys, rates, examples, data, params),
        recipe.epochs,
        every,
        dataclasses.replace(options, checkpoints=checkpoints),
    )
    return RobustFit(states.params, *course, trainer.ensemble(), finish(states, examples), states)


@functools.lru_cache(maxsize=32)
def _programs(trainer: RuleTrainer, every: int, how: str) -> tuple[Callable, Callable, Callable]:
    """The compiled start, block of epochs and findings; kept, so that a second fit of the same shapes is free."""
    model, epochs = trainer.ensemble(), trainer.recipe.epochs

    def for_members(function: Callable) -> Callable:
        def run(mine: Any, examples: Examples, watch: Watch, *shared: Any) -> Any:
            own, rest, join = members_own(examples, watch)
            return over_members(lambda pair: function(pair[0], *join(pair[1], rest), *shared), how)((mine, own))

        return run

    def start(mine: Any, examples: Examples, watch: Watch) -> RuleState:
        key, rate, data, params = mine
        return trainer.init(key, rate, examples, data, params)

    def train(state: RuleState, examples: Examples, watch: Watch, numbers: Array, shared: Array):
        def look(params: Params) -> Metrics:
            out: Metrics = {}
            for images, labels in watch.values():
                logits = predict(model, params, images)
                out |= {name: accuracy(logits, truth) for name, truth in labels.items()}
            return out

        def one(state: RuleState, epoch: Array) -> tuple[RuleState, tuple[Array, Metrics]]:
            def trained(state: RuleState) -> tuple[RuleState, Array]:
                state, metrics = trainer.epoch(state, examples, Clock(epoch, shared))
                return state, metrics["loss"]

            live = epoch < epochs
            state, loss = jax.lax.cond(live, trained, lambda s: (s, jnp.float32(jnp.nan)), state)
            due = live & (((epoch + 1) % every == 0) | (epoch + 1 == epochs))
            blank = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), jax.eval_shape(look, state.params))
            return state, (loss, jax.lax.cond(due, look, lambda params: blank, state.params))

        return jax.lax.scan(one, state, numbers)

    def finish(state: RuleState, examples: Examples, watch: Watch) -> Findings:
        return trainer.rule.export(state.tables, trainer.stats(state.params, examples, state.key))

    begun = jax.jit(lambda keys, rates, examples, *rest: for_members(start)((keys, rates, *rest), examples, {}))
    ended = jax.jit(lambda states, examples: for_members(finish)(states, examples, {}))
    return begun, jax.jit(for_members(train), donate_argnums=0), ended
