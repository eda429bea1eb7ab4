"""Stacks of convolutions by products of matrices, as a GPU computes them, equal one convolution per member."""

import jax
import numpy as np
import pytest

from ddjax.models.convolution import xla

HOW = {"precision": "float32", "platform": "gpu"}


@pytest.mark.parametrize(
    ("size", "padding", "channels"), [(3, ((1, 1), (1, 1)), 4), (3, ((0, 2), (1, 0)), 1), (1, ((0, 0), (0, 0)), 3)]
)
def test_a_stack_is_one_convolution_per_member(size, padding, channels):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, 3, 5, 6, channels))
    kernel = jax.random.normal(keys[1], (2, size, size, channels, 7))
    y = xla.convolve(x, kernel, padding=padding, **HOW)
    np.testing.assert_allclose(
        y,
        np.stack([xla.convolve(a, b, padding=padding, **HOW) for a, b in zip(x, kernel, strict=True)]),
        rtol=1e-5,
        atol=1e-5,
    )
    g = jax.random.normal(keys[2], y.shape)
    each = [xla.kernel_gradient(a, b, padding=padding, **HOW) for a, b in zip(x, g, strict=True)]
    np.testing.assert_allclose(xla.kernel_gradient(x, g, padding=padding, **HOW), np.stack(each), rtol=1e-4, atol=1e-4)
