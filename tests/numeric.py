"""Arrays and comparisons for tests of derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads


def draw(shape, seed, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def assert_close(got, want, tolerance):
    # relative to the largest entry: sums in another order differ by that much and no less
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        a, b = (np.asarray(side).astype(np.float64) for side in (a, b))
        assert np.abs(a - b).max() < tolerance * (np.abs(b).max() + 1e-30)


def finite_differences(function, *point):
    # which are taken at numpy arrays
    check_grads(jax.jit(lambda *a: function(*map(jnp.asarray, a))), point, 2, eps=1e-4)
