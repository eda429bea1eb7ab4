"""Training several networks of one recipe as one compiled program, watched as they go."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddjax.execution.devices import dividing, local
from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.ranges import Count, checked
from ddjax.storage.checkpoints import checkpoint_scope, digest, maybe_checkpoint
from ddjax.training.checking import check
from ddjax.training.members import over_devices
from ddjax.training.predict import accuracy, predict
from ddjax.training.recipe import Recipe
from ddjax.training.trainer import Clock, Examples, Trainer, TrainState, make_trainer
from ddjax.types import Metrics, Model, Params

Watch = dict[str, tuple[Any, dict[str, Any]]]  # name -> (images, {metric: labels}), on host or device

BLOCKS = 20  # how many times a run comes up for air


class Fit(NamedTuple):
    """Trained members, stacked, and what was seen on the way."""

    params: Params  # leaves [s ...]
    loss: Float[np.ndarray, "s epochs"]
    seen: dict[str, Float[np.ndarray, "s seen"]]  # accuracies, one column for each epoch in `at`
    at: list[int]  # epochs done when each column was seen


@checked
def fit(
    model: Model,
    recipe: Recipe,
    examples: Examples,
    keys: Array,
    *,
    rates: Float[Array, "s"] | None = None,
    watch: Watch | None = None,
    every: Count | None = None,
    final: bool = True,
    options: RunOptions = DEFAULTS,
) -> Fit:
    """Train one network per key, on as many devices as divide them evenly.

    Args:
      examples: what all members train on; or, with a leading axis more on images, targets or both, each member's own.
      keys: [s] typed keys; each member's initialisation, data order and augmentation come from its own.
      rates: [s] base rates, the recipe's where None.
      watch: accuracies to record, by name; images and labels are for all members, or each member's own, likewise.
      every: watch after each `every` epochs; None watches after the last epoch only.
      final: False does not watch after the last epoch, for callers that predict then anyway.
      options: progress (once per block of epochs), checkpoints, and how members run (see `over_members`). Members draw
        the same sequence of batch-wide operations either way.
    """
    check(recipe, examples, keys, rates)
    watch, devices = jax.tree.map(jnp.asarray, watch or {}), len(dividing(len(keys)))
    every = every or recipe.epochs
    rates = jnp.full(len(keys), recipe.rate) if rates is None else rates
    if checkpoints := options.checkpoints:
        checkpoints = checkpoints.part("fit", **decides(recipe, every, examples, keys, rates, watch))
    start, run = _programs(model, recipe, every, final, options.how, devices)
    shared = jax.random.key(0)
    states, course = in_blocks(
        lambda states, epochs: run(states, examples, watch, epochs, shared),
        start(keys, rates),
        recipe.epochs,
        every,
        dataclasses.replace(options, checkpoints=checkpoints),
        final,
    )
    return Fit(states.params if devices == 1 else local(states.params), *course)


class Course(NamedTuple):
    """How a training went: see `Fit`."""

    loss: Float[np.ndarray, "s epochs"]
    seen: dict[str, Float[np.ndarray, "s seen"]]
    at: list[int]


def in_blocks(
    run: Callable[[Any, Array], tuple[Any, tuple[Array, Metrics]]],
    states: Any,
    epochs: int,
    every: int,
    options: RunOptions,
    final: bool = True,
) -> tuple[Any, Course]:
    """All epochs, a block at a time: `run(states, epochs of the block)` gives new states, losses and what was seen.

    Between blocks it reports, keeps a checkpoint where one is due, and ends in order where the process was asked to.
    """
    report, checkpoints = options.report, options.checkpoints
    block, first = max(1, -(-epochs // BLOCKS)), 0
    losses, seen = [], []
    with checkpoint_scope(checkpoints):
        if checkpoints and (saved := checkpoints.newest(states)):
            first, states = saved.step, saved.state
            losses, seen = [saved.history.pop("loss")], [saved.history]
        while first < epochs:
            states, (loss, views) = run(states, jnp.arange(first, first + block))
            count = min(block, epochs - first)
            losses.append(np.asarray(loss)[:, :count])
            due = _due(first, first + count, every, epochs, final)
            seen.append({name: np.asarray(view)[:, [e - 1 - first for e in due]] for name, view in views.items()})
            first += count
            if report:
                newest = {name: float(view[:, -1].mean()) for name, view in seen[-1].items() if view.size}
                report(first, epochs, {"loss": float(losses[-1][:, -1].mean()), **newest})
            done = f"{first} of {epochs} epochs are done"
            maybe_checkpoint(checkpoints, first, states, lambda: {"loss": _columns(losses), **_seen(seen)}, done)
    return states, Course(_columns(losses), _seen(seen), _due(0, epochs, every, epochs, final))


def _due(first: int, last: int, every: int, epochs: int, final: bool) -> list[int]:
    """The epochs done, after first and up to last, at which networks are looked at."""
    return [e for e in range(first + 1, last + 1) if (final if e == epochs else e % every == 0)]


def _columns(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts, axis=1)


def _seen(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: _columns([part[name] for part in parts]) for name in parts[0]}


def decides(recipe: Recipe, every: int, *arrays: Any) -> dict[str, Any]:
    """What decides the numbers of a training, for its checkpoints."""
    return {"recipe": dataclasses.asdict(recipe), "every": every, "arrays": [digest(each) for each in arrays]}


@functools.lru_cache(maxsize=32)
def _programs(
    model: Model, recipe: Recipe, every: int, final: bool, how: str, devices: int
) -> tuple[Callable, Callable]:
    """The compiled start and block of epochs; kept, so that a second fit of the same shapes compiles nothing."""
    trainer = make_trainer(model, recipe)
    start = over_devices(lambda pair: trainer.init(*pair), "map", devices, 0)

    def run(states: TrainState, examples: Examples, watch: Watch, epochs: Array, shared: Array):
        own, rest, join = members_own(examples, watch)

        def member(pair: tuple[TrainState, list[Array]], rest: list[Array], epochs: Array, shared: Array):
            examples, watch = join(pair[1], rest)
            return jax.lax.scan(
                lambda s, epoch: _epoch(trainer, recipe, model, every, final, s, examples, watch, epoch, shared),
                pair[0],
                epochs,
            )

        return over_devices(member, how, devices, 3)((states, own), rest, epochs, shared)

    return jax.jit(lambda keys, rates: start((keys, rates))), jax.jit(run, donate_argnums=0)


def for_each(parts: list[Any], count: int) -> Any:
    """One tree for all members where there is one part or each is the same array; else each part `count` times."""

    def join(*leaves: Any) -> Any:
        if all(leaf is leaves[0] for leaf in leaves):
            return leaves[0]
        return jnp.repeat(jnp.stack(leaves), count, axis=0, total_repeat_length=count * len(leaves))

    return jax.tree.map(join, *parts)


def members_own(examples: Examples, watch: Watch) -> tuple[list[Array], list[Array], Callable]:
    """The leaves with a leading axis of members, those that all share, and how a member's slices join these."""
    dims = (Examples(4, 2), {name: (4, dict.fromkeys(labels, 1)) for name, (_, labels) in watch.items()})
    leaves, structure = jax.tree.flatten((examples, watch))
    mine = [leaf.ndim > dim for leaf, dim in zip(leaves, jax.tree.leaves(dims), strict=True)]

    def join(own: list[Array], rest: list[Array]) -> tuple[Examples, Watch]:
        sources = iter(own), iter(rest)
        return structure.unflatten([next(sources[0] if is_mine else sources[1]) for is_mine in mine])

    parts = {yes: [leaf for leaf, is_mine in zip(leaves, mine, strict=True) if is_mine == yes] for yes in (True, False)}
    return parts[True], parts[False], join


def _epoch(
    trainer: Trainer,
    recipe: Recipe,
    model: Model,
    every: int,
    final: bool,
    state: TrainState,
    examples: Examples,
    watch: Watch,
    epoch: Array,
    shared: Array,
) -> tuple[TrainState, tuple[Array, Metrics]]:
    """One epoch and, when it is due, one look; epochs past the last fill up a block and do nothing."""

    def train(state: TrainState) -> tuple[TrainState, Array]:
        state, metrics = trainer.epoch(state, examples, Clock(epoch, shared))
        return state, metrics["loss"]

    def look(params: Params) -> Metrics:
        out = {}
        for images, labels in watch.values():
            logits = predict(model, params, images)
            out |= {name: accuracy(logits, truth) for name, truth in labels.items()}
        return out

    live = epoch < recipe.epochs
    state, loss = jax.lax.cond(live, train, lambda s: (s, jnp.float32(jnp.nan)), state)
    if not watch:
        return state, (loss, {})
    due = live & jnp.where(epoch + 1 == recipe.epochs, final, (epoch + 1) % every == 0)
    blank = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), jax.eval_shape(look, state.params))
    return state, (loss, jax.lax.cond(due, look, lambda params: blank, state.params))
