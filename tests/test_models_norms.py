"""Average pooling and instance norm against their definitions, at every order of differentiation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from numeric import assert_close, draw, finite_differences

from ddjax.backend import targeting
from ddjax.models import pooling
from ddjax.models.instance_norm import standardize
from ddjax.models.pooling import average_pool


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_average_pooling_and_its_derivatives(size):
    def plain(x):
        h, w = x.shape[1] // 2, x.shape[2] // 2
        return x[:, : 2 * h, : 2 * w].reshape(-1, h, 2, w, 2, x.shape[3]).mean((2, 4))

    def everything(pool):
        def gradient(x):
            return jax.grad(lambda x: jnp.sum(jnp.sin(pool(x))))(x)

        def tangent(x):
            return jax.jvp(pool, (x,), (x,))

        return jax.jit(lambda x: (gradient(x), tangent(x), *(jax.vmap(f, 1)(x[None]) for f in (gradient, tangent))))

    x = draw((3, *size, 4), 0)
    assert_close(everything(average_pool)(x), everything(plain)(x), 1e-6)
    with jax.enable_x64(True):
        finite_differences(lambda x: jnp.sin(average_pool(x)), draw((2, *size, 2), 0, jnp.float64))


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_a_tpu_pools_by_sums_over_windows(size):
    x, y = draw((3, *size, 4), 0), draw((3, size[0] // 2, size[1] // 2, 4), 1)
    assert_close(pooling._pool_tpu(x, size=size), pooling._pool(x, size=size), 1e-6)
    np.testing.assert_array_equal(pooling._spread_tpu(y, size=size), pooling._spread(y, size=size))
    with targeting("tpu"):
        text = export.export(jax.jit(jax.grad(lambda x: average_pool(x).sum())), platforms=["tpu"])(x).mlir_module()
    assert "stablehlo.reduce_window" in text


def two_pass(x, scale, bias):
    mean = x.mean((1, 2), keepdims=True)
    deviations = x - mean
    variance = (deviations**2).mean((1, 2), keepdims=True)
    return deviations / jnp.sqrt(variance + 1e-5) * scale.reshape(1, 1, 1, -1) + bias.reshape(1, 1, 1, -1)


def test_instance_norm_and_its_derivatives():
    def orders(norm, *arguments):
        gradient = jax.grad(lambda *a: jnp.sum(jnp.sin(norm(*a)) * arguments[0]), (0, 1, 2))
        along = jax.grad(lambda *a: sum(jnp.sum(g**2) for g in gradient(*a)), (0, 1, 2))
        return norm(*arguments), gradient(*arguments), jax.jvp(gradient, arguments, arguments), along(*arguments)

    def of(norm):
        return jax.jit(functools.partial(orders, norm))

    with jax.enable_x64(True):
        arguments = draw((3, 6, 5, 4), 0, jnp.float64), draw(4, 1, jnp.float64), draw(4, 2, jnp.float64)
        assert_close(of(standardize)(*arguments), of(two_pass)(*arguments), 1e-12)
        finite_differences(standardize, *arguments)


def with_gradient(norm):
    def run(maps, scale, bias, ct):
        value, back = jax.vjp(norm, maps, scale, bias)
        return value, back(ct)[0]

    return jax.jit(run)


@pytest.mark.parametrize("ratio", [1e2, 1e4])
def test_instance_norm_of_a_large_mean(ratio):
    # a float32 is known to 6e-8 of its size, so no norm knows the deviations better than to `ratio` times that
    maps = (ratio + draw((4, 16, 16, 8), 0)).astype(jnp.float32)
    scale, bias, ct = jnp.ones(8), jnp.zeros(8), draw(maps.shape, 1)
    with jax.enable_x64(True):
        wide = [a.astype(jnp.float64) for a in (maps, scale, bias, ct)]
        exact = jax.tree.map(lambda a: a.astype(np.float32), with_gradient(two_pass)(*wide))
    assert_close(with_gradient(standardize)(maps, scale, bias, ct), exact, 1e-6 * ratio)
