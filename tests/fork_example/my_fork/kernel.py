"""A kernel from outside: one function of two sets of images; `kernel_method` makes a method of it."""

import jax.numpy as jnp

from ddjax.distillers.kip import kernel_method
from ddjax.kernels import gram


def cauchy(x, y):
    """1 / (1 + squared distance per pixel), [n h w c] and [m h w c] -> [n m]."""
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    square = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * gram(x, y)
    return 1 / (1 + jnp.maximum(square, 0) / x.shape[1])


METHOD = kernel_method(cauchy)
