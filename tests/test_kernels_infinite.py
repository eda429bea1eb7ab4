"""Infinite-width kernels against wide networks."""

import jax
import jax.numpy as jnp
import pytest

from ddjax.kernels import finite, infinite
from ddjax.models import build


def images(n, seed=0, side=8, channels=3):
    return jax.random.normal(jax.random.key(seed), (n, side, side, channels))


@pytest.mark.slow
def test_mean_kernels_of_networks_are_the_infinite_ones():
    """Both kernels of 256 networks average to the infinite-width ones; they scatter by 23 and 30 % at this width."""
    style = {"width": 16, "width_growth": 2}
    model = build("convnet", (8, 8, 3), 2, depth=2, norm="none", init="lecun", **style)
    x, y = images(2), images(2) + 0.5 * images(2, 1)

    def both(key):
        params = model.init(key)
        return finite.ntk(model.apply, params, x, y), finite.conjugate(model.features, params, x, y)

    found = jax.jit(lambda keys: jax.lax.map(both, keys))(jax.random.split(jax.random.key(0), 256))
    exact = jax.jit(infinite.convnet_kernel("ntk", 2, **style))(x, y)
    d = 2 * 2 * 32
    exact_features = d * jax.jit(infinite.convnet_kernel("nngp", 2, head=False, **style))(x, y)
    for kernels, expected in zip(found, (exact, exact_features), strict=True):
        assert float(jnp.linalg.norm(kernels.mean(0) - expected) / jnp.linalg.norm(expected)) < 0.05


@pytest.mark.slow
def test_blocks_make_the_whole_and_differentiate():
    style = {"parameterization": "ntk", "w_std": 2**0.5, "b_std": 0.1}
    x = images(3, side=4)
    whole = jax.jit(infinite.convnet_kernel("ntk", 1, **style))(x, x)
    parts = jax.jit(infinite.convnet_kernel("ntk", 1, block=2, **style))(x, x)
    assert jnp.allclose(whole, parts, rtol=1e-5) and jnp.allclose(whole, whole.T, rtol=1e-5)
    assert float(jnp.linalg.eigvalsh(whole)[0]) > 0
    kernel = infinite.convnet_kernel("ntk", 1, block=2, **style)
    slope = jax.jit(jax.grad(lambda x: jnp.sum(kernel(x, x))))(x)  # the diagonal is where arc cosines have no slope
    assert bool(jnp.isfinite(slope).all()) and float(jnp.abs(slope).max()) > 0


def test_rows_at_a_time_follow_from_the_memory(monkeypatch):
    seen = []
    monkeypatch.setattr(infinite, "blocked", lambda kernel, x, y, rows: seen.append(rows) or kernel(x, y))
    monkeypatch.setattr(infinite, "COVARIANCES", 5 * 3 * 4**4)
    jax.eval_shape(infinite.convnet_kernel("nngp", 1), images(2, side=4), images(3, side=4))
    assert seen == [5]


@pytest.mark.slow
def test_grey_digits_are_padded_as_our_network_pads_them():
    x = images(1, side=28, channels=1)
    padded = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    kernel = jax.jit(infinite.convnet_kernel("nngp", 1))
    assert jnp.array_equal(kernel(x, x), kernel(padded, padded))
    model = build("convnet", (28, 28, 1), 2, depth=1, width=4, norm="none")
    assert model.features(model.init(jax.random.key(0)), x).shape == (1, 16 * 16 * 4)


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match="nngp"):
        infinite.convnet_kernel("nngpp", 2)
    with pytest.raises(ValueError, match="standard"):
        infinite.convnet_kernel("ntk", 2, parameterization="mean field")
    with pytest.raises(ValueError, match="depth must be at least 1"):
        infinite.convnet_kernel("ntk", 0)
    with pytest.raises(ValueError, match="halves the side 3 times"):
        infinite.convnet_kernel("ntk", 3)(images(1, side=4), images(1, side=4))
