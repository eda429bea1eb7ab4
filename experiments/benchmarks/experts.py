"""Benchmark of expert training on random data of CIFAR-10's shape: GSAM, which takes two gradients, against SGD."""

import dataclasses
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from ddjax.backend import target
from ddjax.experts import RECIPES
from ddjax.experts.fleet import programs
from ddjax.models import build
from ddjax.training import Clock, Examples, Recipe, make_trainer
from experiments.benchmarks.convolution import forward_gflop, problem
from experiments.benchmarks.measure import Entry, Settings, compiled, measure, times

STEPS = 3


def experts(settings: Settings) -> Iterator[Entry]:
    """Measure in turn an epoch of one expert by GSAM, by SGD, and of the plain trainer; ratio is relative to SGD.

    Ratios are taken within a round, which is robust to slow rounds. The plain trainer has neither augmentation nor a
    second gradient. "x2" means two experts in one program, and its time is per expert.
    """
    batch = settings.batch or 256
    count = STEPS * batch
    model = build("convnet", (32, 32, 3), 10, width=settings.width, depth=3)
    _, images, targets = problem(model, count)
    examples = Examples(images, targets)
    recipes = {name: dataclasses.replace(RECIPES[name], batch=batch) for name in ("mtt", "datm")}
    bare = make_trainer(model, Recipe(epochs=1, batch=batch, rate=0.01))
    state = bare.init(jax.random.key(0), jnp.float32(0.01))
    calls = {
        "experts sgd": (1, 3, fleet_epoch(model, recipes["mtt"], examples, 1)),
        "experts gsam": (1, 6, fleet_epoch(model, recipes["datm"], examples, 1)),
        "experts gsam x2": (2, 6, fleet_epoch(model, recipes["datm"], examples, 2)),
        "trainer": (1, 3, compiled(bare.epoch, state, examples, Clock(jnp.int32(0), jax.random.key(0)))),
    }
    rounds = dict(zip(calls, times([call for _, _, call in calls.values()], settings.repeats), strict=True))
    each = {name: [second / calls[name][0] for second in seconds] for name, seconds in rounds.items()}
    for name, (members, passes, call) in calls.items():
        gflop = passes * members * forward_gflop(settings.width, count)
        ratio = statistics.median(own / sgd for own, sgd in zip(each[name], each["experts sgd"], strict=True))
        row = measure(name, call, gflop, settings.repeats, ratio=ratio)
        seconds = row["seconds"] / members
        yield row | {"seconds": seconds, "gflop": gflop / members, "images_per_s": count / seconds}


def fleet_epoch(model: Any, recipe: Recipe, examples: Examples, members: int) -> Callable[[], None]:
    """A call that trains a group of experts for the next epoch and stores a snapshot of each."""
    how = "map" if target() == "cpu" else "vmap"
    start, advance, *_ = programs(model, recipe, how, 1, jnp.dtype("float32"))
    keys = jax.random.split(jax.random.key(0), members)
    states, epoch = [start(keys, jnp.full(members, recipe.rate))], [0]

    def call() -> None:
        first = jnp.int32(epoch[0])
        states[0], flat, _ = advance(states[0], examples, first, first + 1, jax.random.key(1))
        jax.device_get(flat)
        epoch[0] += 1

    call()
    return call
