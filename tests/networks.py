"""Small networks, and images for them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ddjax import models

TINY = {"width": 4}


@functools.cache
def small(name="convnet", shape=(8, 8, 3), classes=3, **options):
    """A network with parameters of the right scale; compiling one's own initialisers takes longer than its gradient."""
    model = models.build(name, shape, classes, **options)
    draw = np.random.default_rng(0)

    def fill(path, leaf):
        if path[0].key == "batch_stats" or path[-1].key == "scale":
            return jnp.asarray(np.full(leaf.shape, 0.0 if path[-1].key == "mean" else 1.0, np.float32))
        fan_in = np.prod(leaf.shape[:-1]) if path[-1].key == "kernel" else 100
        return jnp.asarray(draw.normal(0, fan_in**-0.5, leaf.shape), jnp.float32)

    return model, jax.tree.map_with_path(fill, jax.eval_shape(model.init, jax.random.key(0)))


def images_of(shape, n=2, seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, *shape)), jnp.float32)


def ones(n):
    return jnp.asarray(np.ones(n, np.float32))


def close(a, b, tolerance=1e-5):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
