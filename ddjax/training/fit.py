"""Training of several members by one recipe as one compiled program."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddjax.backend import compiler_options
from ddjax.execution.devices import dividing, local
from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.ranges import Count, checked
from ddjax.rows import away, by_rows, on_host
from ddjax.storage.compiled import keep_compiled
from ddjax.training.batches import Clock, Examples, TrainState
from ddjax.training.blocks import decides, in_blocks
from ddjax.training.checking import check
from ddjax.training.hosted import Hosted
from ddjax.training.members import Watch, members_own, over_devices
from ddjax.training.predict import accuracies
from ddjax.training.recipe import Recipe
from ddjax.training.rule import PLAIN, Findings, Rule
from ddjax.training.trainer import Trainer, make_trainer
from ddjax.types import Metrics, Model, Params


class Fit(NamedTuple):
    """Trained members, stacked, and the course of their training."""

    params: Params  # leaves [s ...]; for a rule of several networks [s nets ...]
    loss: Float[np.ndarray, "s epochs"]
    seen: dict[str, Float[np.ndarray, "s seen"]]  # accuracies, one column for each epoch in `at`
    at: list[int]  # epochs done at each column
    model: Model  # reads the params of one member
    findings: Findings | None  # leaves [s n ...]; None for a rule without findings, such as plain training


@checked
def fit(
    model: Model,
    recipe: Recipe,
    examples: Examples,
    keys: Array,
    *,
    rule: Rule = PLAIN,
    data: Any = None,
    params: Params | None = None,
    rates: Float[Array, "s"] | None = None,
    watch: Watch | None = None,
    every: Count | None = None,
    final: bool = True,
    options: RunOptions = DEFAULTS,
) -> Fit:
    """Train one member per key, on as many devices as divide the members evenly.

    Args:
      model: the architecture.
      recipe: optimiser, schedule, data order and augmentation.
      examples: the training set of all members; or, with one more leading axis on images, targets or both, of each
        member. A rule needs one-hot targets. Images may be a `rows.Images`, on the device or on the host.
      keys: [s] typed keys; a member's initialisation, data order and augmentation come from its own.
      rule: the training rule; see `ddjax.robust.make_rule`.
      data: the rule's data, leaves [s ...]: for example a transition matrix, or a teacher's logits.
      params: initial parameters, leaves [s ...], in place of new networks.
      rates: [s] base rates; None takes the recipe's.
      watch: accuracies to record, by name; images and labels are of all members or of each, like the examples.
      every: record them after each `every` epochs; None records them after the last epoch only.
      final: False does not record after the last epoch, for callers that predict then anyway.
      options: progress (once per block of epochs), checkpoints, and how members run (see `over_members`). Both ways
        draw the same sequence of batch-wide operations. The checkpoints' configuration must name the rule, whose
        functions cannot be written to a file.

    Returns:
      The trained members.

    Raises:
      ValueError: the examples, keys, rates, data or params do not fit each other or the rule.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ddjax.models import build
      >>> from ddjax.training import Examples, Recipe, fit
      >>> examples = Examples(jnp.ones((4, 2, 2, 1)), jnp.eye(2)[jnp.array([0, 1, 0, 1])])
      >>> recipe = Recipe(epochs=2, batch=2, rate=0.1)
      >>> fit(build("mlp", (2, 2, 1), 2, depth=1, width=4), recipe, examples, jax.random.key(0)[None]).loss.shape
      (1, 2)
    """
    keep_compiled()
    check(recipe, examples, keys, rates, rule, data, params)
    trainer = make_trainer(model, recipe, rule)
    watch, devices = jax.tree.map(by_rows, watch or {}), len(dividing(len(keys)))
    every = every or recipe.epochs
    rates = jnp.full(len(keys), recipe.rate) if rates is None else rates
    if checkpoints := options.checkpoints:
        checkpoints = checkpoints.part("fit", **decides(recipe, every, examples, keys, rates, watch, data, params))
    compiling = compiler_options(recipe.epochs * recipe.steps_per_epoch(examples.images.shape[-4]))
    start, run, finish = programs(trainer, every, final, options.how, devices, compiling)
    shared = jax.random.key(0)
    hosted = Hosted(trainer, examples, options.how, devices, compiling) if on_host(examples) else None

    def block(states: Any, epochs: Array) -> Any:
        if hosted:
            return hosted.block(states, watch, epochs, shared, every, final)
        return run(states, examples, watch, epochs, shared)

    states, course = in_blocks(
        block,
        start(keys, rates, data, params, away(examples)),
        recipe.epochs,
        every,
        final,
        dataclasses.replace(options, checkpoints=checkpoints),
    )
    found = None
    if rule.export:
        found = hosted.findings(states) if hosted else finish(states, examples)
    result = states.params, found
    trained, findings = result if devices == 1 else local(result)
    return Fit(trained, *course, trainer.predictor(), findings)


@functools.lru_cache(maxsize=32)
def programs(
    trainer: Trainer, every: int, final: bool, how: str, devices: int, compiling: tuple[tuple[str, float], ...] = ()
) -> tuple[Callable, Callable, Callable]:
    """The compiled start, block of epochs and findings, cached: a second fit of the same shapes compiles nothing."""
    rule = trainer.rule

    def for_members(function: Callable, how: str, shared: int) -> Callable:
        """`function(state, examples, watch, *shared)` over members, each with its own examples where it has some."""

        def run(states: Any, examples: Examples, watch: Watch, *constants: Any) -> Any:
            own, rest, join = members_own(examples, watch)

            def member(pair: tuple[Any, list[Any]], rest: list[Any], *constants: Any) -> Any:
                return function(pair[0], *join(pair[1], rest), *constants)

            return over_devices(member, how, devices, 1 + shared)((states, own), rest, *constants)

        return run

    def start(first: tuple[Array, Array, Any, Any], examples: Examples, watch: Watch) -> TrainState:
        key, rate, data, params = first
        return trainer.init(key, rate, examples, data, params)

    def train(state: TrainState, examples: Examples, watch: Watch, epochs: Array, shared: Array) -> Any:
        def one(state: TrainState, epoch: Array) -> tuple[TrainState, tuple[Array, Metrics]]:
            return _epoch(trainer, every, final, state, examples, watch, epoch, shared)

        return jax.lax.scan(one, state, epochs)

    def finish(state: TrainState, examples: Examples, watch: Watch) -> Findings:
        assert rule.export is not None
        return rule.export(state.tables, trainer.stats(state.params, examples, state.key))

    start_all, finish_all = for_members(start, "map", 0), for_members(finish, how, 0)
    jit = functools.partial(jax.jit, compiler_options=dict(compiling))
    return (
        jit(lambda keys, rates, data, params, examples: start_all((keys, rates, data, params), examples, {})),
        jit(for_members(train, how, 2), donate_argnums=0),
        jit(lambda states, examples: finish_all(states, examples, {})),
    )


def for_each(parts: list[Any], count: int) -> Any:
    """One tree for all members if there is one part or each leaf is one array; else each part `count` times."""

    def join(*leaves: Any) -> Any:
        if all(leaf is leaves[0] for leaf in leaves):
            return leaves[0]
        return jnp.repeat(jnp.stack(leaves), count, axis=0, total_repeat_length=count * len(leaves))

    return jax.tree.map(join, *parts)


def _epoch(
    trainer: Trainer,
    every: int,
    final: bool,
    state: TrainState,
    examples: Examples,
    watch: Watch,
    epoch: Array,
    shared: Array,
) -> tuple[TrainState, tuple[Array, Metrics]]:
    """One epoch and the accuracies if they are due. Epochs after the last pad the last block and do nothing."""
    model, epochs = trainer.predictor(), trainer.recipe.epochs

    def train(state: TrainState) -> tuple[TrainState, Array]:
        state, metrics = trainer.epoch(state, examples, Clock(epoch, shared))
        return state, metrics["loss"]

    live = epoch < epochs
    state, loss = jax.lax.cond(live, train, lambda s: (s, jnp.float32(jnp.nan)), state)
    if not watch:
        return state, (loss, {})
    due = live & jnp.where(epoch + 1 == epochs, final, (epoch + 1) % every == 0)
    seen = functools.partial(accuracies, model, watch=watch)
    blank = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), jax.eval_shape(seen, state.params))
    return state, (loss, jax.lax.cond(due, seen, lambda params: blank, state.params))
