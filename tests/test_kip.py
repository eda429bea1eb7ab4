"""KIP, and kernels of one's own."""

import dataclasses
import functools
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import testing
from ddjax.distillers import kip
from ddjax.distillers.setup import set_up
from ddjax.distillers.shared.feeds import image_batches
from ddjax.execution.distill import distill
from ddjax.kernels import gram
from ddjax.models import build
from ddjax.preprocess import centered

TINY = {"ipc": 2, "steps": 5, "batch": 12}


def rbf(x, y):
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    square = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * gram(x, y)
    return jnp.exp(-square / (2 * x.shape[1]))


@functools.cache
def own_case():
    method = kip.kernel_method(rbf)
    return testing.Case(method, method.config(**TINY))


test_kip = testing.contract(
    kip.METHOD._replace(model=lambda config, shape, k: build("mlp", shape, k, width=16)),
    kip.KipConfig(kernel="conjugate", learn_labels=True, **TINY),
)


def test_a_kernel_is_named_like_any_other_thing(monkeypatch):
    monkeypatch.setitem(sys.modules, "my_fork", types.SimpleNamespace(rbf=rbf))
    named = testing.Case(kip.METHOD, kip.KipConfig(kernel="my_fork:rbf", **TINY))
    found, expected = (case.step(case.state(), case.batch(0))[0].distilled for case in (named, own_case()))
    assert jnp.array_equal(found.images, expected.images)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ntk", "nngp"])
def test_infinitely_wide_networks(kind):
    config = kip.KipConfig(kernel=kind, depth=1, ipc=1, steps=2, batch=4, block=2, rate=0.01)
    case = testing.Case(kip.METHOD, config)
    losses = []
    step, state = jax.jit(case.distiller.step), case.state()
    for _ in range(6):
        state, metrics = step(state, case.batch(0))
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[0] and np.isfinite(losses).all()
    assert case.distiller.extract(state).label_kind == "regression"


def accuracy(case, kernel, distilled):
    config = dataclasses.replace(case.config, solve="float32", ridge=1e-3)
    test = testing.toy_train(per_class=40, seed=1)
    scores = kip.predict(kernel, config, distilled, test.images)
    return float(jnp.mean(jnp.argmax(scores, 1) == test.labels))


@pytest.mark.slow
def test_learning_pays_on_unseen_images():
    """Ridge regression from 3 images that began as noise."""
    case = testing.Case(kip.kernel_method(rbf), kip.KernelConfig(ipc=1, steps=60, batch=12, learn_labels=True))
    noise = dataclasses.replace(case.start, images=0.3 * jax.random.normal(jax.random.key(8), case.start.images.shape))
    before = accuracy(case, rbf, noise)
    state, log = distill(case.distiller, case.feed, case.distiller.init(jax.random.key(0), noise), steps=60)
    after = accuracy(case, rbf, case.distiller.extract(state))
    assert before < 0.8 and after > 0.95, (before, after)
    assert log["loss"][-1] < log["loss"][0] / 2 and log["accuracy"][-1] > log["accuracy"][0]


def test_labels_stay_unless_they_are_learned():
    for learned, case in ((False, own_case()), (True, test_kip.case())):
        labels = case.distiller.extract(case.looped()).labels
        expected = centered(jnp.repeat(jnp.arange(3), 2), 3)
        assert jnp.array_equal(case.start.labels, expected)
        assert learned != bool(jnp.array_equal(labels, expected))


def polynomial(x, y):
    """A kernel whose diagonal depends on the images, so that the relative ridge does too."""
    return (gram(x.reshape(len(x), -1), y.reshape(len(y), -1)) / x[0].size + 1) ** 2


def test_the_gradient_is_that_of_ridge_regression():
    """Every entry, against central differences of the loss written out in NumPy and double precision."""
    config = kip.KernelConfig(ipc=1, steps=1, batch=6, ridge=0.1, rate=1e-3, learn_labels=True)
    case = testing.Case(kip.kernel_method(polynomial), config)
    batch = case.batch(0)
    start = {name: np.asarray(getattr(case.start, name), np.float64) for name in ("images", "labels")}
    real, one_hot = np.asarray(batch.images, np.float64), np.eye(3)[np.asarray(batch.labels)]

    def kernel(x, y):
        x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
        return (x @ y.T / x.shape[1] + 1) ** 2

    def loss(images, labels):
        k_mm = kernel(images, images)
        ridge = 0.1 * np.trace(k_mm) / 3
        predicted = kernel(real, images) @ np.linalg.solve(k_mm + ridge * np.eye(3), labels)
        return 0.5 * np.mean((predicted - (one_hot - 1 / 3)) ** 2)

    def difference(name, index, step=1e-5):
        moved = []
        for size in (step, -step):
            values = {key: value.copy() for key, value in start.items()}
            values[name][index] += size
            moved.append(loss(**values))
        return (moved[0] - moved[1]) / (2 * step)

    state, metrics = jax.jit(case.distiller.step)(case.state(), batch)
    assert np.isclose(metrics["loss"], loss(**start), rtol=1e-5)
    for name, first in start.items():
        wanted = np.array([difference(name, index) for index in np.ndindex(first.shape)]).reshape(first.shape)
        found = np.asarray(state.opt_state[0].mu[name]) / 0.1  # Adam's first moment after one step: a tenth
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max(), err_msg=name)
        moved = np.asarray(getattr(state.distilled, name), np.float64) - first
        adam, large = -1e-3 * wanted / (np.abs(wanted) + 1e-8), np.abs(wanted) > 1e-3 * np.abs(wanted).max()
        np.testing.assert_allclose(moved[large], adam[large], rtol=1e-3, err_msg=name)


def test_random_networks_are_drawn_anew_at_each_step():
    case = testing.Case(kip.METHOD, kip.KipConfig(kernel="conjugate", rate=0.0, ipc=1, steps=2, batch=4))
    state = case.state()
    step = jax.jit(case.distiller.step)
    first = step(state, case.batch(0))[1]["loss"]
    assert first == step(state, case.batch(0))[1]["loss"]
    later = dataclasses.replace(state, step=state.step + 1)
    assert first != step(later, case.batch(0))[1]["loss"]


def test_batches_are_functions_of_the_step():
    train = testing.toy_train()
    feed = image_batches(train, 10, jax.random.key(3))
    at = jax.jit(lambda step: feed.at(feed.data, step))
    batch = at(jnp.int32(7))
    assert batch.images.shape == (10, 8, 8, 3) and len(np.unique(np.asarray(batch.images), axis=0)) == 10
    rows = [np.flatnonzero((np.asarray(train.images) == image).all((1, 2, 3)))[0] for image in np.asarray(batch.images)]
    assert np.array_equal(np.asarray(train.labels)[rows], batch.labels)
    assert jnp.array_equal(batch.images, at(jnp.int32(7)).images)
    assert not jnp.array_equal(batch.images, at(jnp.int32(8)).images)
    assert len(image_batches(train, 999, jax.random.key(3)).at(feed.data, jnp.int32(0)).labels) == len(train.labels)


def test_invalid_arguments_are_refused():
    model = build("mlp", (8, 8, 3), 3)
    with pytest.raises(ValueError, match="conjugate"):
        kip.build(kip.KipConfig(kernel="conjugat"), model)
    with pytest.raises(ValueError, match="module:ATTRIBUTE"):  # before anything is prepared
        config = kip.KipConfig(kernel="no_such_module:kernel")
        set_up(kip.METHOD._replace(prepare=None), config, testing.toy_train(), jax.random.key(0), model)
    with pytest.raises(ValueError, match="float64"):
        kip.build(kip.KipConfig(kernel="conjugate", solve="double"), model)
    with pytest.raises(ValueError, match="ipc=9"):
        kip.prepare(kip.KernelConfig(ipc=9), testing.toy_train(), model, jax.random.key(0))
