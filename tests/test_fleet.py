"""Cells that differ in labels and seeds, run side by side, end where each ends alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mesh_problem import CONFIGS

from ddjax import testing
from ddjax.distillers import DISTILLERS
from ddjax.distillers.datm import feed as datm_feed
from ddjax.execution.distill import distill
from ddjax.execution.fleet import init_members

SLOW = [pytest.param("rcig", marks=pytest.mark.slow), pytest.param("dance", marks=pytest.mark.slow)]


def members(name, count, steps):
    """Starts and feeds of one method on the same images with other labels, and the distiller."""
    method, train = DISTILLERS[name], testing.toy_train()
    config = method.config(**CONFIGS[name] | {"steps": steps} | ({"segments": 1} if name == "datm" else {}))
    shape, k = train.images.shape[1:], train.num_classes
    model = method.model(config, shape, k)
    starts, feeds = [], []
    for number in range(count):
        labels = np.asarray(train.labels).copy()
        labels[number] = (labels[number] + 1) % k
        own = dataclasses.replace(train, labels=jnp.asarray(labels))
        start, feed = method.prepare(config, own, model, jax.random.key(number))
        starts, feeds = [*starts, start], [*feeds, feed]
    return method.build(config, model), starts, feeds


def same_as_alone(name, steps=3, count=2):
    distiller, starts, feeds = members(name, count, steps)

    def key(number):
        return jax.random.key(10 + number)

    keys = [key(number) for number in range(count)]
    states, logs = zip(*distill(distiller, feeds, init_members(distiller, keys, starts), steps=steps), strict=True)
    for i in range(count):
        alone, log = distill(distiller, feeds[i], distiller.init(key(i), starts[i]), steps=steps)
        before, after = (distiller.extract(state) for state in (distiller.init(key(i), starts[i]), alone))
        moved = float(jnp.abs(after.images - before.images).max())
        assert moved > 0
        np.testing.assert_allclose(distiller.extract(states[i]).images, after.images, atol=1e-4 * max(moved, 1))
        for metric, values in log.items():
            np.testing.assert_allclose(logs[i][metric], values, rtol=2e-4, atol=1e-6, err_msg=metric)
    return states


@pytest.mark.parametrize("name", SLOW)
def test_a_fleet_is_its_members(name):
    same_as_alone(name)


@pytest.mark.slow
def test_a_fleet_whose_trajectories_are_on_the_device(cache):
    first, second = same_as_alone("datm")
    assert not np.allclose(first.learned.images, second.learned.images)


@pytest.mark.slow
def test_a_fleet_whose_trajectories_are_read_ahead(cache, monkeypatch):
    monkeypatch.setattr(datm_feed, "RESIDENT_BYTES", 0)
    assert members("datm", 1, 3)[2][0].fetch is not None
    same_as_alone("datm")
