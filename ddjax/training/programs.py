"""The compiled parts of a training: the start, a block of epochs, and the findings; of one member or of a group."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.backend import compiler_options
from ddjax.training.batches import Clock, Examples, TrainState
from ddjax.training.members import Watch, with_examples
from ddjax.training.networks import initialiser
from ddjax.training.predict import accuracies
from ddjax.training.rule import Findings
from ddjax.training.trainer import Trainer
from ddjax.types import Metrics, PRNGKey

Options = tuple[tuple[str, float], ...]  # of the compiler


class Programs(NamedTuple):
    """The functions of a training; for a group, states and results have a leading axis of members."""

    start: Callable[..., TrainState]  # of keys, rates, data, params, examples
    train: Callable[..., tuple[TrainState, tuple[Array, Metrics]]]  # of states, examples, watch, epochs, shared key
    finish: Callable[..., Findings]  # of states and examples


@functools.lru_cache(maxsize=32)
def starter(trainer: Trainer, once: Options) -> Callable[..., TrainState]:
    """`Trainer.init` of one member in two programs: new networks, which all trainings of a model share, and the rest.

    Args:
      trainer: of the member.
      once: options of the compiler for programs that run once.

    Returns:
      A function of key, rate, data, params and examples.
    """
    init_from = jax.jit(trainer.init_from, compiler_options=dict(once))

    def start(
        key: PRNGKey, rate: Float[Array, ""], data: Any = None, params: Any = None, examples: Examples | None = None
    ) -> TrainState:
        init_key, own_key = jax.random.split(key)
        if params is None:
            params = initialiser(trainer.model, trainer.rule.nets, trainer.rule.adjust_init, once)(init_key)
        return init_from(own_key, rate, examples if trainer.reads_examples else None, data, params)

    return start


@functools.lru_cache(maxsize=32)
def alone(trainer: Trainer, every: int, final: bool, compiling: Options = ()) -> Programs:
    """The programs of one member: trainings of any number of members call the same ones, one member after the other."""
    train, finish = _functions(trainer, every, final)
    jit = functools.partial(jax.jit, compiler_options=dict(compiling))
    return Programs(
        starter(trainer, compiler_options(1)),
        jit(train, donate_argnums=0),
        jit(lambda state, examples: finish(state, examples, {})),
    )


@functools.lru_cache(maxsize=32)
def programs(trainer: Trainer, every: int, final: bool, how: str, devices: int, compiling: Options = ()) -> Programs:
    """The programs of a group, cached: a second fit of the same shapes compiles nothing."""
    train, finish = _functions(trainer, every, final)

    def start(first: tuple[Array, Array, Any, Any], examples: Examples, watch: Watch) -> TrainState:
        key, rate, data, params = first
        return trainer.init(key, rate, examples, data, params)

    start_all, finish_all = with_examples(start, "map", devices, 0), with_examples(finish, how, devices, 0)
    jit = functools.partial(jax.jit, compiler_options=dict(compiling))
    return Programs(
        jit(lambda keys, rates, data, params, examples: start_all((keys, rates, data, params), examples, {})),
        jit(with_examples(train, how, devices, 2), donate_argnums=0),
        jit(lambda states, examples: finish_all(states, examples, {})),
    )


def _functions(trainer: Trainer, every: int, final: bool) -> tuple[Callable, Callable]:
    """A block of epochs and the findings of one member."""
    rule = trainer.rule

    def train(state: TrainState, examples: Examples, watch: Watch, epochs: Array, shared: Array) -> Any:
        def one(state: TrainState, epoch: Array) -> tuple[TrainState, tuple[Array, Metrics]]:
            return _epoch(trainer, every, final, state, examples, watch, epoch, shared)

        return jax.lax.scan(one, state, epochs)

    def finish(state: TrainState, examples: Examples, watch: Watch) -> Findings:
        assert rule.export is not None
        return rule.export(state.tables, trainer.stats(state.params, examples, state.key))

    return train, finish


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
    """One epoch and the accuracies if they are due. Epochs after the last pad the last block and do nothing.

    What is missing is -1 and not NaN, so that `jax_debug_nans` finds real ones only.
    """
    model, epochs = trainer.predictor(), trainer.recipe.epochs

    def train(state: TrainState) -> tuple[TrainState, Array]:
        state, metrics = trainer.epoch(state, examples, Clock(epoch, shared))
        return state, metrics["loss"].astype(jnp.float32)

    live = epoch < epochs
    state, loss = jax.lax.cond(live, train, lambda s: (s, jnp.float32(-1)), state)
    if not watch:
        return state, (loss, {})
    due = live & jnp.where(epoch + 1 == epochs, final, (epoch + 1) % every == 0)
    seen = functools.partial(accuracies, model, watch=watch)
    blank = jax.tree.map(lambda x: jnp.full(x.shape, -1, x.dtype), jax.eval_shape(seen, state.params))
    return state, (loss, jax.lax.cond(due, seen, lambda params: blank, state.params))
