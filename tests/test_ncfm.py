"""NCFM: its contract, its distance and gradient, its optimiser, and the sampling network."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddjax import testing
from ddjax.distillers import DISTILLERS
from ddjax.distillers.dance import Start
from ddjax.distillers.dance.feed import ClassBatch
from ddjax.distillers.dance.start import no_box
from ddjax.distillers.ncfm.config import NcfmConfig
from ddjax.distillers.ncfm.matching import ascend, characteristic, distance, frequencies, sampler
from ddjax.distillers.ncfm.step import Moving, coast, descend
from ddjax.distillers.setup import set_up
from ddjax.models import build
from ddjax.models.layers import unit
from ddjax.testing import toy_train

QUICK = {"steps": 4, "width": 4, "depth": 2, "batch": 6, "members": 1, "pool_epochs": 1, "keep_pool": False}
QUICK["augment"] = "color_flip"  # compiles in half the time
test_contract = pytest.mark.slow(
    testing.contract(DISTILLERS["ncfm"], ipc=2, factor=2, sampler="learned", frequencies=320, patience=1, **QUICK)
)


def features(seed, rows=7, width=5):
    return unit(jnp.asarray(np.random.default_rng(seed).standard_normal((rows, width))))


def even(rows):
    return jnp.full(rows, 1 / rows)


POINTS = jnp.asarray(np.random.default_rng(9).standard_normal((11, 5)))


@pytest.mark.parametrize(("amplitude", "phase"), [(0.5, 0.5), (0.9, 0.1), (0.0, 1.0)])
def test_distance_by_its_definition(amplitude, phase):
    one, other = features(0), features(1, 4)
    found = distance(characteristic(one, even(7), POINTS), characteristic(other, even(4), POINTS), amplitude, phase)
    a, b = (np.exp(1j * np.asarray(POINTS) @ np.asarray(x).T).mean(axis=1) for x in (one, other))
    parts = amplitude * (abs(a) - abs(b)) ** 2 + phase * 2 * (abs(a * b) - (a * b.conj()).real)
    assert float(found) == pytest.approx(np.sqrt(parts).mean(), rel=1e-4)


def test_distance_of_equal_sets_is_zero():
    own = features(0)
    twice, weights = jnp.concatenate([own, own[::-1]]), jnp.concatenate([even(7), jnp.zeros(7)])
    whole = characteristic(own, even(7), POINTS)
    assert float(distance(whole, whole, 0.5, 0.5)) == 0
    assert float(distance(whole, characteristic(twice, weights, POINTS), 0.5, 0.5)) < 1e-6  # rows of weight 0
    assert float(distance(whole, characteristic(own[::-1], even(7), POINTS), 0.5, 0.5)) < 1e-6  # the order
    assert float(distance(whole, characteristic(features(3), even(7), POINTS), 0.5, 0.5)) > 0.1
    gradient = jax.jit(jax.grad(lambda x: distance(characteristic(x, even(7), POINTS), whole, 0.5, 0.5)))(own)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("argument", ["features", "points"])
def test_gradient_against_finite_differences(argument):
    with jax.enable_x64(True):
        one, other, points = (jnp.asarray(np.asarray(x), jnp.float64) for x in (features(0), features(1, 4), POINTS))
        weights = [jnp.full(n, 1 / n, jnp.float64) for n in (7, 4)]

        @jax.jit
        def value(moved):
            x, t = (moved, points) if argument == "features" else (one, moved)
            target = characteristic(other, weights[1], t)
            return distance(characteristic(unit(x), weights[0], t), target, 0.7, 0.3)

        at = one if argument == "features" else points
        way = jnp.asarray(np.random.default_rng(4).standard_normal(at.shape))
        small = 1e-6
        numeric = (value(at + small * way) - value(at - small * way)) / (2 * small)
        assert float(jnp.vdot(jax.jit(jax.grad(value))(at), way)) == pytest.approx(float(numeric), rel=1e-6)


def test_images_take_the_steps_of_adamw():
    config = NcfmConfig(weight_decay=0.1)
    images, rng = jnp.ones((2, 3, 3, 1)), np.random.default_rng(0)
    gradients = [jnp.asarray(rng.standard_normal(images.shape), jnp.float32), *[jnp.zeros_like(images)] * 3]
    tx = optax.adamw(0.01, b1=0.9, b2=0.999, weight_decay=0.1)
    expected, state = images, tx.init(images)
    for gradient in gradients:
        updates, state = tx.update(gradient, state, expected)
        expected = optax.apply_updates(expected, updates)
    moving = Moving(images=images, first=jnp.zeros_like(images), second=jnp.zeros_like(images))
    moving = descend(config, moving, gradients[0], jnp.int32(0), jnp.float32(0.01))
    moving = coast(config, moving, jnp.int32(3), jnp.int32(1), jnp.float32(0.01))
    np.testing.assert_allclose(moving.images, expected, rtol=1e-5)


@pytest.mark.slow
def test_the_sampling_network_ascends_the_distance():
    config = NcfmConfig(sampler="learned", frequencies=64, weight_decay=0.0)
    one, other = (x.astype(jnp.float32) for x in (features(0), features(1, 4)))

    def value(weights):
        points = frequencies(config, weights, jax.random.key(1), 5)
        pair = [characteristic(x, even(len(x)), points) for x in (one, other)]
        return distance(*pair, 0.5, 0.5)

    state = sampler(config, jax.random.key(0), 5)
    assert frequencies(config, state.weights, jax.random.key(1), 5).shape == (4, 5)  # one in 16, all different
    before, step = value(state.weights), jax.jit(lambda s: ascend(config, s, jax.grad(value)(s.weights)))
    for _ in range(20):
        state = step(state)
    assert value(state.weights) > before
    assert frequencies(NcfmConfig(frequencies=64), {}, jax.random.key(1), 5).shape == (64, 5)


@pytest.mark.slow
def test_distilling_lowers_the_distance():
    """Images of noise approach the characteristic function of their class; measured: from 76 to 55."""
    few = {"steps": 20, "batch": 16, "calibrations": 0, "frequencies": 320}
    config = NcfmConfig(ipc=2, start="noise", rate=0.03, **QUICK | few)
    setup = set_up(DISTILLERS["ncfm"], config, toy_train(per_class=16), jax.random.key(0))
    state, losses = setup.distiller.init(jax.random.key(0), setup.start), []
    for number in range(20):
        state, metrics = setup.distiller.step(state, setup.feed.at(setup.feed.data, jnp.int32(number)))
        losses.append(float(metrics["matching"]))
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:5])


def test_settings():
    with pytest.raises(ValueError, match="unknown sampler 'uniform'"):
        NcfmConfig(sampler="uniform")
    with pytest.raises(ValueError, match="match nothing"):
        NcfmConfig(amplitude=0.0, phase=0.0)
    assert NcfmConfig(ipc=50).image_rate() == 1e-3 and dataclasses.replace(NcfmConfig(), rate=0.1).image_rate() == 0.1


def test_images_stay_float32_where_the_default_is_double_precision(double):
    config = NcfmConfig(width=4, depth=1, frequencies=16, calibrations=0)
    model, images = build("mlp", (4, 4, 1), 2, width=4, depth=1), jnp.zeros((2, 1, 4, 4, 1), jnp.float32)
    distiller = DISTILLERS["ncfm"].build(config, model)
    state = jax.eval_shape(distiller.init, jax.random.key(1), Start(images=images, box=no_box(images[0]), space="toy"))
    params = jax.eval_shape(model.init, jax.random.key(0))
    after, _ = jax.eval_shape(distiller.step, state, ClassBatch(images, images[:, :, 0, 0, 0], params, params))
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    assert after.moving.images.dtype == jnp.float32
