"""GSAM of the trainer against its equations, written out in NumPy on flat float64 vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from ddjax.training import Clock, Examples, Recipe, Sharpness, gsam_gradient, make_trainer
from ddjax.training.losses import cross_entropy
from ddjax.types import Model

SETTINGS = [Sharpness(0.05, 0.3, True), Sharpness(0.05, 0.7, False), Sharpness(0.05, 0.0, True)]


def transcribed(gradient, w, settings, c=1e-12):
    """g1 less alpha times the part of g0 that is orthogonal to it."""
    g0 = gradient(w)
    if settings.adaptive:
        eps = settings.rho * w**2 * g0 / (np.linalg.norm(np.abs(w) * g0) + c)
    else:
        eps = settings.rho * g0 / (np.linalg.norm(g0) + c)
    g1 = gradient(w + eps)
    cos = (g0 @ g1) / (np.linalg.norm(g1) * np.linalg.norm(g0) + c)
    v = g0 - cos * np.linalg.norm(g0) * g1 / (np.linalg.norm(g1) + c)
    return g1 - settings.alpha * v


def perceptron():
    """Two layers of tanh on 4 x 4 images, in the dtype of its parameters."""

    def init(key):
        one, two = jax.random.split(key)
        return {"in": jax.random.normal(one, (16, 5)) / 4, "out": jax.random.normal(two, (5, 3)), "b": jnp.ones(3)}

    def apply(params, images):
        return jnp.tanh(images.reshape(len(images), 16) @ params["in"]) @ params["out"] + params["b"][None]

    return Model(init, apply, apply, lambda params, images, weights: (apply(params, images), params))


MODEL = perceptron()


def problem():
    """Examples, a flat starting point, its way back to params, and the gradient there as NumPy has it."""
    rng = np.random.default_rng(0)
    examples = Examples(jnp.asarray(rng.standard_normal((7, 4, 4, 1))), jax.nn.one_hot(jnp.arange(7) % 3, 3))
    dtype = examples.images.dtype
    w, unravel = ravel_pytree(jax.tree.map(lambda x: x.astype(dtype), MODEL.init(jax.random.key(3))))

    @jax.jit
    def gradient(params):
        return jax.grad(lambda p: jnp.mean(cross_entropy(MODEL.apply(p, examples.images), examples.targets)))(params)

    def flat(at):
        return np.asarray(ravel_pytree(gradient(unravel(jnp.asarray(at))))[0])

    return examples, np.asarray(w), unravel, gradient, flat


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_direction_is_the_equations(settings):
    with jax.enable_x64(True):
        _, w, unravel, gradient, flat = problem()
        direction = jax.jit(lambda at: gsam_gradient(gradient, unravel(at), gradient(unravel(at)), settings))
        found = ravel_pytree(direction(jnp.asarray(w)))[0]
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found, transcribed(flat, w, settings), rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_a_step_of_the_trainer_descends_it():
    recipe = Recipe(epochs=1, batch=7, rate=0.5, sharpness=SETTINGS[0])
    examples, w, unravel, _, flat = problem()
    trainer = make_trainer(MODEL, recipe)
    state = trainer.init(jax.random.key(0), jnp.float32(recipe.rate))._replace(params=unravel(jnp.asarray(w)))
    after, _ = jax.jit(trainer.epoch)(state, examples, Clock(jnp.int32(0), jax.random.key(1)))
    wanted = w - 0.5 * transcribed(flat, w, SETTINGS[0])
    np.testing.assert_allclose(ravel_pytree(after.params)[0], wanted, rtol=1e-4, atol=1e-6)
    assert np.abs(wanted - (w - 0.5 * flat(w))).max() > 1e-3  # plain descent is another place
