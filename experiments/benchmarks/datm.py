"""An inner and an outer step of DATM on experts of random data, by each hypergradient; TESLA's error; peak memory."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ddjax import trees
from ddjax.bilevel.unrolled_descent import HYPERGRADIENTS, Unrolled
from ddjax.distillers import datm
from ddjax.distillers.datm_feed import Segments
from ddjax.training import Examples, fit
from experiments.benchmarks.measure import Entry, Settings, compiled, measure

STEPS = 4  # of a timed unroll
LENGTHS = (4, 12)  # inner steps between which the growth of memory is read off
ERROR_STEPS = (10, 20, 40, 80)
SHAPE, CLASSES = (32, 32, 3), 10
PASSES = {"exact": 12, "adjoint": 11, "tesla": 9, "tesla_replay": 10}  # forward passes that each needs per image


def forward_gflop(width: int, images: int) -> float:
    """Of three convolutions: 32x32 from 3 channels, 16x16, 8x8."""
    return 2 * 9 * images * (32**2 * 3 * width + (16**2 + 8**2) * width**2) / 1e9


def problem(config: datm.DatmConfig, model: Any, images: int, kept: tuple[int, int]) -> tuple[Any, Segments]:
    """A distilled set of so many images, and a segment of an expert trained on class-dependent noise."""
    rng = np.random.default_rng(0)
    means = 0.7 * rng.standard_normal((CLASSES, *SHAPE))
    classes = np.arange(512) % CLASSES
    x = jnp.asarray(means[classes] + rng.standard_normal((512, *SHAPE)), jnp.float32)
    examples, keys = Examples(x, jax.nn.one_hot(classes, CLASSES)), jax.random.key(0)[None]
    recipe = dataclasses.replace(config.recipe(512), batch=64)
    ends = [fit(model, dataclasses.replace(recipe, epochs=epochs), examples, keys).params for epochs in kept]
    start, target = (ravel_pytree(trees.take(params, 0))[0][None] for params in ends)
    own = np.resize(np.argsort(classes, kind="stable"), images)
    logits = jax.vmap(lambda p: model.apply(p, x[own]))(ends[-1])[0]
    learned = datm.Learned(images=x[own], labels=logits, rate=jnp.float32(config.step_size))
    return learned, Segments(start, target, jnp.zeros(1, jnp.int32), jax.random.key(1))


def settings_for(settings: Settings, name: str, steps: int, remat: str = "nothing") -> datm.DatmConfig:
    """A configuration of so many inner steps; all images are in each."""
    return datm.DatmConfig(width=settings.width, hypergradient=name, inner_steps=steps, remat=remat)


def peak_of(config: datm.DatmConfig, model: Any, learned: Any, batch: Segments) -> int:
    """Bytes of scratch memory of one matching loss with its gradients, as compiled."""
    run = jax.jit(lambda learned, batch: datm.match(config, model, learned, jax.random.key(2), batch))
    return run.lower(learned, batch).compile().memory_analysis().temp_size_in_bytes


def difference(exact: Unrolled, estimate: Unrolled) -> tuple[float, float]:
    """Relative error and cosine of the images' gradients."""
    a, b = (np.ravel(each.learned.images) for each in (exact, estimate))
    return float(np.linalg.norm(b - a) / np.linalg.norm(a)), float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def datm_step(settings: Settings) -> Iterator[Entry]:
    """Seconds per inner step by each hypergradient, a whole outer step, memory per inner step, TESLA's error.

    "ratio" is what an inner step adds to memory over 4 bytes per parameter and the gathered batch; of TESLA's error
    it is the cosine with the exact gradient. The error's segments start at epoch 1 and end 2 epochs later, with a
    batch of one image per class.
    """
    b = settings.batch or 100
    model = datm.network(settings_for(settings, "exact", 1), SHAPE, CLASSES)
    learned, batch = problem(settings_for(settings, "exact", 1), model, b, (1, 3))
    gflop = forward_gflop(settings.width, b)
    for name in HYPERGRADIENTS:
        config = settings_for(settings, name, STEPS)
        run = functools.partial(lambda config, *a: datm.match(config, model, *a), config)
        call = compiled(run, learned, jax.random.key(2), batch)
        entry = measure(f"datm {name}, {STEPS} steps", call, gflop * PASSES[name] * STEPS, settings.repeats)
        yield {**entry, "name": f"datm {name}, per inner step", "seconds": entry["seconds"] / STEPS,
               "gflop": entry["gflop"] / STEPS}  # fmt: skip
    state = datm.build(settings_for(settings, "exact", STEPS), model)
    start = datm.Start(images=learned.images, labels=learned.labels, space="random")
    first = state.init(jax.random.key(0), start)
    call = compiled(state.step, first, batch)
    yield measure(f"datm outer step of {STEPS}", call, gflop * PASSES["exact"] * STEPS, settings.repeats)
    for name, remat in (("exact", "nothing"), ("exact", "dots"), ("adjoint", "nothing"), ("tesla_replay", "nothing")):
        yield growth(settings, model, learned, batch, name, remat)
    for steps in ERROR_STEPS:
        yield tesla_error(settings, model, batch, learned, steps)


def growth(settings: Settings, model: Any, learned: Any, batch: Segments, name: str, remat: str) -> Entry:
    """What a further inner step adds to memory."""
    few, many = (peak_of(settings_for(settings, name, n, remat), model, learned, batch) for n in LENGTHS)
    each = (many - few) / (LENGTHS[1] - LENGTHS[0])
    allowed = 4 * (batch.starts.size + learned.images.size + learned.labels.size)
    call = compiled(lambda x: x + 1, learned.rate)
    entry = measure(f"memory per step, {name}, remat {remat}", call, None, 1, ratio=each / allowed)
    return {**entry, "seconds": 0.0, "peak_mib": many / 2**20}


def tesla_error(settings: Settings, model: Any, batch: Segments, learned: Any, steps: int) -> Entry:
    """TESLA's gradient against the exact one, of the images, one image per class in each step."""
    few = jax.tree.map(lambda x: x[:: len(learned.images) // CLASSES][:CLASSES] if x.ndim else x, learned)
    found = {}
    for name in ("adjoint", "tesla_replay"):
        config = settings_for(settings, name, steps)
        call = compiled(lambda *a, config=config: datm.match(config, model, *a), few, jax.random.key(2), batch)
        found[name] = call()
    entry = measure(f"tesla against exact, {steps} steps", call, None, 1)
    error, cosine = difference(found["adjoint"], found["tesla_replay"])
    return {**entry, "error": error, "ratio": cosine}
