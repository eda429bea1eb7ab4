"""Benchmark of a step of a fleet: five runs with other labels and seeds in one program, against one run."""

import dataclasses
import statistics
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ddjax.distillers import DISTILLERS
from ddjax.execution.fleet import init_members, join_feeds
from ddjax.types import TrainSet
from experiments.benchmarks.measure import Call, Entry, Settings, entry, times
from experiments.benchmarks.rcig import going_on, random_set

RATES = (0.0, 0.1, 0.2, 0.4, 0.6)  # of wrong labels
SHAPE, CLASSES = (32, 32, 3), 10
EXPERTS = {"experts": 1, "expert_epochs": 2, "last_start": 1, "match_epochs": 1, "store": False}
# method -> (images per step, other options)
METHODS = {
    "dance": (128, {"members": 2, "pool_epochs": 1, "start": "random"}),
    "rcig": (256, {"pool_size": 10, "inner_rate": 3e-5, "hinv_rate": 5e-5}),
    "datm": (100, EXPERTS | {"inner_steps": 4, "growth_steps": 0, "start": "real", "short_class": "real"}),
}


def fleet(name: str, settings: Settings) -> Iterator[Entry]:
    """Measure a step of one run of a method and of five together, in turn; ratio is relative to one run."""
    calls = [stepping(settings, name, rates) for rates in (RATES[:1], RATES)]
    rounds = times(list(calls), settings.repeats)
    alone, together = map(statistics.median, rounds)
    ratio = statistics.median(many / one for one, many in zip(*rounds, strict=True))
    yield entry(f"{name}, a run", alone, compile_s=calls[0].compile_s)
    yield entry(f"{name}, a fleet of {len(RATES)}", together, compile_s=calls[1].compile_s, ratio=ratio)


def stepping(settings: Settings, name: str, rates: Sequence[float]) -> Call:
    """A call that takes the next step of a run for each rate of wrong labels."""
    method, (batch, options) = DISTILLERS[name], METHODS[name]
    batch = settings.batch or batch
    own = options if name == "datm" else options | {"batch": batch}
    config = method.config(ipc=settings.ipc, width=settings.width, **own)
    model, train = method.model(config, SHAPE, CLASSES), random_set(2 * CLASSES * batch)
    keys = [jax.random.key(seed) for seed in range(len(rates))]
    parts = [
        method.prepare(config, mislabelled(train, rate), model, key) for rate, key in zip(rates, keys, strict=True)
    ]
    starts, feeds = map(list, zip(*parts, strict=True))
    distiller, first = method.build(config, model), jnp.int32(0)
    if len(rates) == 1:
        state, feed = distiller.init(keys[0], starts[0]), feeds[0]
    else:
        state = init_members(distiller, keys, starts)
        distiller, feed = join_feeds(distiller, feeds)
    data = feed.data if feed.fetch is None else (feed.data, feed.fetch(0, 1))
    return going_on(distiller, state, feed.at(data, first))


def mislabelled(train: TrainSet, rate: float) -> TrainSet:
    """The set with this share of labels moved to the next class."""
    labels = np.array(train.labels)
    wrong = np.random.default_rng(0).random(len(labels)) < rate
    labels[wrong] = (labels[wrong] + 1) % train.num_classes
    return dataclasses.replace(train, labels=jnp.asarray(labels))
