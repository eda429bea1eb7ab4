"""Benchmark of DATM's steps for each hypergradient: time, memory, and the error of TESLA on experts of digits."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ddjax.bilevel.unrolled_descent import HYPERGRADIENTS, Unrolled
from ddjax.data import load, prepare, to_space
from ddjax.distillers import datm
from ddjax.distillers.datm.feed import Resident, Segments
from ddjax.distillers.datm.match import Learned, match
from ddjax.noise import NoiseSpec
from ddjax.preprocess import fit as fitted
from experiments.benchmarks.convolution import forward_gflop
from experiments.benchmarks.measure import Entry, Settings, compiled, entry, measure
from experiments.benchmarks.rcig import going_on

STEPS = 4  # of a timed unroll
LENGTHS = (4, 12)  # inner steps at which memory is compared
ERROR_STEPS = (10, 20, 40, 80)
SHAPE, CLASSES = (32, 32, 3), 10
STARTS = (0, 5, 20)  # epochs of an expert
PASSES = {"exact": 12, "adjoint": 11, "tesla": 9, "tesla_replay": 10}  # forward passes that each needs per image


def problem(model: Any, images: int) -> tuple[Learned, Segments]:
    """A random distilled set of this many images, and a segment between two random networks."""
    keys = jax.random.split(jax.random.key(0), 3)
    start, target = (ravel_pytree(model.init(key))[0][None] for key in keys[:2])
    learned = Learned(
        images=jax.random.normal(keys[2], (images, *SHAPE)),
        labels=4 * jax.nn.one_hot(jnp.arange(images) % CLASSES, CLASSES),
        rate=jnp.float32(0.01),
    )
    return learned, Segments(start, target, jnp.zeros(1, jnp.int32), jax.random.key(1))


def settings_for(settings: Settings, name: str, steps: int, remat: str = "nothing") -> datm.DatmConfig:
    """A configuration with this many inner steps; each step sees all images."""
    return datm.DatmConfig(width=settings.width, hypergradient=name, inner_steps=steps, remat=remat)


def peak_of(config: datm.DatmConfig, model: Any, learned: Any, batch: Segments) -> int:
    """Bytes of temporary memory of the compiled matching loss with its gradients."""
    run = jax.jit(lambda learned, batch: match(config, model, learned, jax.random.key(2), batch))
    return run.lower(learned, batch).compile().memory_analysis().temp_size_in_bytes


def difference(exact: Unrolled, estimate: Unrolled) -> tuple[float, float]:
    """Relative error and cosine similarity of two gradients of the images."""
    a, b = (np.ravel(each.learned.images) for each in (exact, estimate))
    return float(np.linalg.norm(b - a) / np.linalg.norm(a)), float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def datm_step(settings: Settings) -> Iterator[Entry]:
    """Measure inner_exact, inner_adjoint, inner_tesla, inner_replay per inner step; outer_step; memory; TESLA's error.

    The ratio of a memory_ entry is the memory of an inner step relative to 4 bytes per parameter and gathered pixel.
    The ratio of a tesla_ entry is the cosine similarity with the exact gradient of the images.
    """
    b = settings.batch or 100
    model = datm.network(settings_for(settings, "exact", 1), SHAPE, CLASSES)
    learned, batch = problem(model, b)
    gflop = forward_gflop(settings.width, b)
    for name in HYPERGRADIENTS if settings.parts else ():
        config = settings_for(settings, name, STEPS)
        run = functools.partial(lambda config, *a: match(config, model, *a), config)
        call = compiled(run, learned, jax.random.key(2), batch)
        found = measure(f"datm inner_{name}", call, gflop * PASSES[name] * STEPS, settings.repeats)
        yield {**found, "seconds": found["seconds"] / STEPS, "gflop": found["gflop"] / STEPS}
    distiller = datm.build(settings_for(settings, "exact", STEPS), model)
    first = distiller.init(jax.random.key(0), datm.Start(images=learned.images, labels=learned.labels, space="random"))
    call = going_on(distiller, first, batch)
    yield measure(f"datm outer_step of {STEPS}", call, gflop * PASSES["exact"] * STEPS, settings.repeats)
    if not settings.parts:
        return
    for name, remat in (("exact", "nothing"), ("exact", "dots"), ("adjoint", "nothing"), ("tesla_replay", "nothing")):
        yield growth(settings, model, learned, batch, name, remat)
    yield from tesla_errors(settings)


def growth(settings: Settings, model: Any, learned: Any, batch: Segments, name: str, remat: str) -> Entry:
    """Measure the memory of one additional inner step."""
    few, many = (peak_of(settings_for(settings, name, n, remat), model, learned, batch) for n in LENGTHS)
    each = (many - few) / (LENGTHS[1] - LENGTHS[0])
    allowed = 4 * (batch.starts.size + learned.images.size + learned.labels.size)
    return entry(f"datm memory_{name}, remat {remat}", 0.0, ratio=each / allowed) | {"peak_mib": many / 2**20}


def tesla_errors(settings: Settings) -> Iterator[Entry]:
    """Compare TESLA's gradient of the images with the exact one, for experts trained on digits by DATM's recipe.

    Each inner step sees one image per class. The student's step size is such that its steps cover two epochs of the
    expert at the expert's rate.
    """
    dataset = load("digits")
    train = to_space(prepare(dataset, NoiseSpec()), fitted("datm", dataset.images)).train
    config = datm.DatmConfig(width=min(32, settings.width), experts=1, flip=False, match_epochs=2)
    model = datm.network(config, train.images.shape[1:], CLASSES)
    start, feed = datm.prepare(config, train, model, jax.random.key(0))
    recipe = config.recipe(len(train.labels))
    covered = recipe.rate * config.match_epochs * recipe.steps_per_epoch(len(train.labels))
    for epoch in STARTS:
        batch = segment(feed.data, epoch, config.match_epochs)
        for steps in ERROR_STEPS:
            rate = jnp.float32(covered / steps)
            learned = Learned(images=start.images, labels=start.labels, rate=rate)
            yield tesla_error(config, model, learned, batch, steps, epoch)


def segment(experts: Resident, epoch: int, length: int) -> Segments:
    """A segment of the first expert."""
    ends = (experts.array[:1, experts.snapshot_of[at]] for at in (epoch, epoch + length))
    return Segments(*ends, jnp.full(1, epoch, jnp.int32), jax.random.key(1))


def tesla_error(
    config: datm.DatmConfig, model: Any, learned: Learned, batch: Segments, steps: int, epoch: int
) -> Entry:
    """Measure the error and cosine similarity of TESLA's gradient after this many inner steps."""
    found = {}
    for name in ("adjoint", "tesla_replay"):
        own = dataclasses.replace(config, hypergradient=name, inner_steps=steps)
        run = functools.partial(lambda own, *a: match(own, model, *a), own)
        found[name] = jax.jit(run)(learned, jax.random.key(2), batch)
    error, cosine = difference(found["adjoint"], found["tesla_replay"])
    return entry(f"datm tesla_error, from {epoch}, {steps} steps", 0.0, error=error, ratio=cosine)
