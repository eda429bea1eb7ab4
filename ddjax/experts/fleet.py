"""Train many networks with one recipe, and take snapshots of their weights after some of the epochs."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from ddjax import trees
from ddjax.backend import compiler_options
from ddjax.execution.guard import Diverged
from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.execution.proxies import on_host
from ddjax.storage.checkpoints import checkpoint_scope, maybe_checkpoint
from ddjax.storage.compiled import keep_compiled
from ddjax.storage.rows import fingerprint
from ddjax.timing import Timer
from ddjax.training import (
    LOSSES,
    Clock,
    Examples,
    Recipe,
    TrainState,
    accuracy,
    make_trainer,
    over_devices,
    predict,
    stacked_logits,
)
from ddjax.training.hosted import Hosted
from ddjax.training.members import settled
from ddjax.training.programs import starter
from ddjax.types import Model

BLOCKS = 20  # least number of possible checkpoints in a run
SIDE_BY_SIDE = 10  # experts per device where members run by vmap


class Expert(NamedTuple):
    """One trained network."""

    number: int
    snapshots: np.ndarray  # [snapshots parameters], in the storage dtype
    loss: float  # of the last weights on the training images without augmentation, with the given labels
    accuracy: float
    seconds: float  # that its training took, without compiling; a group's are divided among its members


class ExpertPrograms(NamedTuple):
    """The compiled functions that train a group; states and results have a leading axis of experts."""

    start: Callable[[Array, Array], TrainState]  # keys, rates
    advance: Callable[..., tuple[TrainState, Array, Array]]  # to the end of an epoch: state, flat weights, loss
    judge: Callable[[TrainState, Examples], tuple[Array, Array]]  # loss, accuracy
    weights: Callable[[TrainState], Array]  # flat
    score: Callable[[Array, Array], tuple[Array, Array]]  # logits, targets: loss, accuracy


def train_experts(
    model: Model,
    recipe: Recipe,
    examples: Examples,
    *,
    seed: int,
    numbers: Sequence[int],
    kept: tuple[int, ...],
    dtype: Any,
    options: RunOptions = DEFAULTS,
    stores: bool = False,
) -> Iterator[Expert]:
    """Train the experts with these numbers, one group at a time.

    Expert i is a function of (seed, i). Its initialisation, data order and augmentation follow from its own key; the
    batch-wide operations of an augmentation follow from the seed. On a CPU a group is one expert, so an interruption
    without `checkpoints` loses at most one. On an accelerator a group is `SIDE_BY_SIDE` experts on each device.

    A snapshot in `dtype` is taken after the epochs in `kept`. Progress counts the epochs of all experts. If the caller
    `stores` each expert before it asks for the next one, the checkpoints of a group are removed when it is stored: they
    hold its snapshots once more.

    Yields:
      Each expert, when its group is done.

    Raises:
      Diverged: the loss of an expert is not finite.
    """
    how, report, checkpoints = options.how, options.report, options.checkpoints
    keep_compiled()
    how = settled(how)
    devices = min(jax.local_device_count(), len(numbers))
    start, advance, judge, weights, score = programs(model, recipe, how, devices, dtype)
    hosted = Hosted(make_trainer(model, recipe), examples, how, devices) if on_host(examples) else None
    block = max(1, -(-recipe.epochs // BLOCKS))
    stops = sorted({*kept, *range(0, recipe.epochs, block), recipe.epochs})
    groups = math.ceil(len(numbers) / (devices * (SIDE_BY_SIDE if how == "vmap" else 1)))
    done, total = 0, recipe.epochs * len(numbers)
    members, shared = jax.random.split(jax.random.key(seed))
    for part in np.array_split(np.asarray(numbers), groups):
        filled = np.concatenate([part, np.repeat(part[-1:], -len(part) % devices)])
        timer = Timer()
        keys = jax.vmap(lambda i: jax.random.fold_in(members, i))(jnp.asarray(filled))
        states, snapshots, epoch, left = start(keys, jnp.full(len(filled), recipe.rate)), [], 0, stops
        mine = checkpoints and checkpoints.part(fingerprint(filled.tolist()))
        with checkpoint_scope(mine):
            if mine and (saved := mine.newest(states)):
                epoch, states, done = saved.step, saved.state, done + saved.step * len(part)
                left = [stop for stop in stops if stop > epoch]
                snapshots = [saved.history[name].view(dtype) for name in sorted(saved.history)]
            for stop in left:
                if hosted:
                    loss = jnp.zeros(len(filled))
                    for number in range(epoch, stop):
                        states, loss = hosted.epoch(states, number, shared)
                    flat = weights(states)
                else:
                    states, flat, loss = advance(states, examples, jnp.int32(epoch), jnp.int32(stop), shared)
                if stop in kept:
                    snapshots.append(np.asarray(flat)[: len(part)])
                done, epoch = done + (stop - epoch) * len(part), stop
                if report and stop:
                    report(done, total, {"loss": float(loss[: len(part)].mean())})
                progress = f"{done} of {total} epochs of experts are done"
                maybe_checkpoint(mine, stop, states, functools.partial(_numbered, snapshots), progress)
        if hosted:
            judged = score(jnp.asarray(stacked_logits(model, states.params, examples.images)), examples.targets)
        else:
            judged = judge(states, examples)
        losses, accuracies = (np.asarray(x)[: len(part)].tolist() for x in judged)
        blocks = np.stack(snapshots, axis=1)
        seconds = (timer.steady + (mine.carried if mine else 0.0)) / len(part)
        for number, own, loss, share in zip(part.tolist(), blocks, losses, accuracies, strict=True):
            if not math.isfinite(loss):
                raise Diverged(
                    f"expert {number} diverged: its loss is {loss} after {recipe.epochs} epochs at recipe.rate "
                    f"{recipe.rate}. Use a smaller rate. The expert is not stored."
                )
            yield Expert(number, own, loss, share, seconds)
        if mine and stores:
            mine.clear()


def _numbered(snapshots: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{i:06d}": snapshot for i, snapshot in enumerate(snapshots)}


@functools.lru_cache(maxsize=16)
def programs(model: Model, recipe: Recipe, how: str, devices: int, dtype: Any) -> ExpertPrograms:
    """The compiled functions of a group. They are cached, so a second fleet of the same shapes compiles nothing."""
    trainer = make_trainer(model, recipe)

    def advance(state: TrainState, examples: Examples, first: Array, last: Array, shared: Array):
        def one(epoch: Array, carry: tuple[TrainState, Array]) -> tuple[TrainState, Array]:
            state, metrics = trainer.epoch(carry[0], examples, Clock(epoch, shared))
            return state, metrics["loss"].astype(jnp.float32)

        state, loss = jax.lax.fori_loop(first, last, one, (state, jnp.float32(0)))
        return state, weights(state), loss

    def weights(state: TrainState) -> Array:
        return ravel_pytree(state.params)[0].astype(dtype)

    def judge(state: TrainState, examples: Examples) -> tuple[Array, Array]:
        return score(predict(model, state.params, examples.images), examples.targets)

    def score(logits: Array, targets: Array) -> tuple[Array, Array]:
        return jnp.mean(LOSSES[recipe.loss](logits, targets)), accuracy(logits, jnp.argmax(targets, axis=1))

    start_all = over_devices(lambda pair: trainer.init(*pair), how, devices, 0)

    def start_each(keys: Array, rates: Array) -> TrainState:
        start = starter(trainer, compiler_options(1))
        return trees.stack([start(keys[i], rates[i]) for i in range(len(keys))])

    return ExpertPrograms(
        start_each if how == "map" and devices == 1 else jax.jit(lambda keys, rates: start_all((keys, rates))),
        jax.jit(over_devices(advance, how, devices, 4), donate_argnums=0),
        jax.jit(over_devices(judge, how, devices, 1)),
        jax.jit(over_devices(weights, how, devices, 0)),
        jax.jit(over_devices(score, how, devices, 1)),
    )
