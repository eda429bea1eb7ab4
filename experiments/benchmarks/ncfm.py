"""Benchmark of an NCFM iteration: random data of CIFAR-10's shape, 128 images per class, factor 2, both samplers."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from ddjax.distillers import dance, ncfm
from ddjax.distillers.dance import feed as dance_feed
from ddjax.distillers.ncfm.config import NcfmConfig
from experiments.benchmarks.dance import CLASSES, IPC
from experiments.benchmarks.measure import Entry, Settings, measure
from experiments.benchmarks.rcig import going_on, random_set


def ncfm_step(settings: Settings) -> Iterator[Entry]:
    """Measure a step at 1 and at 10 images per class, with Gaussian frequencies and with the sampling network."""
    for ipc in IPC:
        for sampler in ("gaussian", "learned"):
            config = NcfmConfig(ipc, width=settings.width, batch=settings.batch or 128, start="random", sampler=sampler)
            model = dance.network(config, (32, 32, 3), CLASSES)
            train = random_set(CLASSES * max(2 * config.batch, ipc))
            pool = jax.vmap(model.init)(jax.random.split(jax.random.key(0), 2))
            networks = dance_feed.Pool(initial=pool, trained=pool)
            feed = dance_feed.class_batches(train, config.batch, networks, dance_feed.drawn_pair, jax.random.key(2))
            distiller = ncfm.build(config, model)
            state = distiller.init(jax.random.key(3), dance.first_images(config, train, jax.random.key(1)))
            call = going_on(distiller, state, jax.jit(feed.at)(feed.data, jnp.int32(0)))
            yield measure(f"ncfm step, ipc {ipc}, {sampler}", call, None, settings.repeats)
