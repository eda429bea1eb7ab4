"""Networks have the same bits after training on images on the device and on the host."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ddjax
from ddjax import preprocess
from ddjax.evaluation import Baseline, train_full
from ddjax.evaluation.predicted import predict_all
from ddjax.execution import reading
from ddjax.execution.options import RunOptions
from ddjax.experts import trajectories
from ddjax.preprocess import lookup
from ddjax.robust import make_rule
from ddjax.rows import HostRows
from ddjax.storage.checkpoints import Checkpoints
from ddjax.training import Examples, Recipe, fit, hosted, stacked_logits

SHAPE, N = (8, 8, 3), 27
RECIPE = Recipe(epochs=2, batch=8, rate=0.05, augment="crop_flip", cutmix=0.5)


@functools.cache
def data():
    prepared = ddjax.prepare(ddjax.synthetic(3, N // 3, SHAPE), ddjax.NoiseSpec("symmetric", rate=0.3))
    transform = preprocess.fit("standardize", prepared.train.images)
    return {place: ddjax.to_space(prepared, transform, place) for place in ("device", "host")}


@functools.cache
def network():
    return ddjax.build("convnet", SHAPE, 3, depth=1, width=2)


@pytest.fixture(autouse=True)
def two_steps_at_once(monkeypatch):
    monkeypatch.setattr(hosted, "CHUNK_BYTES", 2 * 2 * 8 * int(np.prod(SHAPE)))  # an epoch has four steps, two networks


def examples(place):
    train = data()[place].train
    return Examples(train.images, preprocess.one_hot(jnp.asarray(train.labels), 3))


def fitted(place, recipe=RECIPE, count=2, **more):
    train = data()[place].train
    watch = {"all": (train.images, {"given": jnp.asarray(train.labels)})} if more.pop("watched", False) else None
    keys = jax.random.split(jax.random.key(1), count)
    return fit(network(), recipe, examples(place), keys, watch=watch, every=1, **more)


@pytest.mark.slow
def test_plain_training_and_its_accuracies(tmp_path):
    device, host = (fitted(place, watched=True) for place in ("device", "host"))
    chex.assert_trees_all_equal(device.params, host.params)
    np.testing.assert_array_equal(device.seen["given"], host.seen["given"])
    np.testing.assert_allclose(device.loss, host.loss, rtol=1e-6)  # a mean over steps in another program
    images = [data()[place].train.images for place in ("device", "host")]
    assert isinstance(images[1], HostRows)
    logits = [stacked_logits(network(), device.params, each) for each in images]
    np.testing.assert_array_equal(*logits)
    for one, other in zip(*(predict_all(network(), device.params, each) for each in images), strict=True):
        chex.assert_trees_all_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dividemix", "storm"])
def test_a_robust_rule(name):
    recipe = Recipe(epochs=2, batch=8, rate=0.05, augment="crop_flip")
    rule = make_rule(name, 2, **({"warmup": 1.0} if name == "dividemix" else {}))
    device, host = (fitted(place, recipe, count=1, rule=rule) for place in ("device", "host"))
    chex.assert_trees_all_equal(device.params, host.params)
    chex.assert_trees_all_equal(device.findings, host.findings)


def test_training_continues_in_another_place(tmp_path):
    calls = []

    def stop(done, total, metrics):
        calls.append(done)
        if len(calls) == 1:
            raise KeyboardInterrupt

    kept = Checkpoints(tmp_path / "fit", {}, seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        fitted("host", options=RunOptions(report=stop, checkpoints=kept))
    resumed = fitted("device", options=RunOptions(report=stop, checkpoints=kept))
    chex.assert_trees_all_equal(resumed.params, fitted("device").params)


@pytest.mark.slow
def test_experts():
    recipe = Recipe(epochs=2, batch=8, rate=0.05)
    device, host = (
        trajectories(network(), recipe, data()[place].train, experts=1, store=False) for place in ("device", "host")
    )
    np.testing.assert_array_equal(device.array, host.array)
    assert device.manifest["identity"] == host.manifest["identity"]
    assert device.manifest["experts"]["0"]["accuracy"] == host.manifest["experts"]["0"]["accuracy"]


@pytest.mark.slow
def test_the_whole_set_with_a_hold_out():
    baseline = Baseline("short", RECIPE, "standardize")
    device, host = (
        train_full(baseline, data()[place].train, data()[place].test, model=network(), holdout=0.3)
        for place in ("device", "host")
    )
    chex.assert_trees_all_equal(device.params, host.params)
    assert device.at == host.at and "holdout_acc" in host.curves


def test_parts_are_read_in_order_and_one_ahead():
    read = []
    for part, value in reading.ahead(lambda part: read.append(part) or 10 * part, range(3)):
        assert value == 10 * part and len(read) <= part + 2
    assert read == [0, 1, 2] and not list(reading.ahead(print, []))


@pytest.mark.slow
def test_a_predictor(monkeypatch):
    train = ddjax.prepare(ddjax.synthetic(3, N // 3, SHAPE), ddjax.NoiseSpec("symmetric", rate=0.3)).train

    def report():
        return ddjax.denoise(train.images, train.labels, method="plain", network="mlp", width=4, plain_epochs=1)

    device = report()
    monkeypatch.setattr(lookup, "SHARE", 0.0)
    np.testing.assert_array_equal(device.suspicion, report().suspicion)
