"""Named precisions: float32 unless asked otherwise, and the rounding of an accelerator where it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax.models.conv import conv2d


def gap(precision):
    x = jax.random.normal(jax.random.key(0), (4, 8, 8, 16))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 16, 8))

    def both(x, kernel):
        return conv2d(x, kernel), jax.grad(lambda k: jnp.sum(jnp.sin(conv2d(x, k))))(kernel)

    exact = jax.jit(both)(x, kernel)
    with jax.default_matmul_precision(precision):
        rounded = jax.jit(both)(x, kernel)
    return [np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in zip(exact, rounded, strict=True)]


@pytest.mark.parametrize(("precision", "unit"), [("tensorfloat32", 2.0**-11), ("bfloat16", 2.0**-8)])
def test_factors_are_rounded_as_on_an_accelerator(precision, unit):
    for error in gap(precision):
        assert 0.1 * unit < error < 10 * unit


def test_float32_is_the_default():
    assert gap("float32") == [0, 0]
