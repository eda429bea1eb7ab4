"""Benchmark of iterations of DANCE, with its parts, and NCFM: random data of CIFAR-10's shape, 128 images per class."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ddjax.distillers import dance, ncfm
from ddjax.distillers.dance import feed as dance_feed
from ddjax.distillers.dance.config import DanceConfig
from ddjax.distillers.dance.start import decoded
from ddjax.distillers.dance.step import Views, at_once, augmented, side_by_side
from ddjax.distillers.ncfm.config import NcfmConfig
from ddjax.types import Distiller, Images, Model
from experiments.benchmarks.convolution import forward_gflop
from experiments.benchmarks.measure import Entry, Settings, compiled, measure
from experiments.benchmarks.rcig import going_on, random_set

CLASSES, SIDE = 10, 32
IPC = (1, 10)


def dance_step(settings: Settings) -> Iterator[Entry]:
    """Measure step and its parts at 1 and at 10 images per class; "augmentation" is that of the real images.

    FLOPs in forward passes of the network: 1 for a real image, 2 for each view of a learned one.
    """
    for ipc in IPC:
        yield from iteration(settings, ipc)


def ncfm_step(settings: Settings) -> Iterator[Entry]:
    """Measure a step at 1 and at 10 images per class, with Gaussian frequencies and with the sampling network."""
    for ipc in IPC:
        for sampler in ("gaussian", "learned"):
            case = first(settings, ipc, NcfmConfig, ncfm.build, sampler=sampler)
            call = going_on(case.distiller, case.state, case.batch)
            yield measure(f"ncfm step, ipc {ipc}, {sampler}", call, None, settings.repeats)


class First(NamedTuple):
    """A distiller of DANCE's kind with its first state and batch."""

    config: DanceConfig
    model: Model
    distiller: Distiller
    start: Any
    state: Any
    batch: Any


def first(settings: Settings, ipc: int, kind: type = DanceConfig, build: Any = dance.build, **fields: Any) -> First:
    """Random data, two random networks, and images drawn from the data."""
    config = kind(ipc=ipc, width=settings.width, batch=settings.batch or 128, start="random", **fields)
    model = dance.network(config, (32, 32, 3), CLASSES)
    train = random_set(CLASSES * max(2 * config.batch, ipc))
    pool = jax.vmap(model.init)(jax.random.split(jax.random.key(0), 2))
    start = dance.first_images(config, train, jax.random.key(1))
    networks = dance_feed.Pool(initial=pool, trained=pool)
    feed = dance_feed.class_batches(train, config.batch, networks, dance_feed.drawn_pair, jax.random.key(2))
    distiller = build(config, model)
    batch = jax.jit(feed.at)(feed.data, jnp.int32(0))
    return First(config, model, distiller, start, distiller.init(jax.random.key(3), start), batch)


def iteration(settings: Settings, ipc: int) -> Iterator[Entry]:
    """Measure one iteration and its parts, at `ipc` images per class."""
    config, model, distiller, start, state, batch = first(settings, ipc)
    views = Views(config, model, start.box, batch.encoder, batch.judge)
    labels, key = jnp.arange(CLASSES, dtype=jnp.int32), jax.random.key(3)
    real, factor = config.batch * CLASSES, config.factor_for((SIDE, SIDE, 3))
    learned = CLASSES * min(config.cap, ipc * factor**2)
    gflop = functools.partial(forward_gflop, settings.width)

    def part(name: str, function: Callable[..., Any], size: float | None, chunk: int, *arguments: Any) -> Entry:
        # of every class, so many together as in the step
        call = compiled(lambda *parts: side_by_side(lambda one: function(*one), chunk, parts), *arguments)
        return measure(f"dance {name}, ipc {ipc}", call, size, settings.repeats)

    def inner(images: Images, target: Array) -> Any:
        return jax.value_and_grad(views.inner)(images, target, key)

    def reals(images: Images, present: Array) -> Array:
        return views.real(images, present, key)

    def learned_augmented(images: Images) -> Array:
        return augmented(config, images, key)

    def decoded_images(images: Images) -> Array:
        return decoded(key, images, factor, config.formation, config.cap)

    call = going_on(distiller, state, batch)
    yield measure(f"dance step, ipc {ipc}", call, gflop(real + 4 * learned), settings.repeats)
    if not settings.parts:
        return
    few, many = at_once(learned // CLASSES * SIDE**2), at_once(config.batch * SIDE**2)
    targets = jnp.ones((CLASSES, 16 * settings.width))  # the last maps are 4 x 4
    yield part("real features", reals, gflop(real), many, batch.images, batch.present)
    yield part("inner view", inner, gflop(2 * learned), few, start.images, targets)
    yield part("calibration", lambda x, c: views.calibration(x, c, key), gflop(2 * learned), few, start.images, labels)
    yield part("decode", decoded_images, None, few, start.images)
    yield part("augmentation", learned_augmented, None, many, batch.images)
