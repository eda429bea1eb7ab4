"""Kernels of feature vectors, by name."""

import functools
from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.kernels import gram
from ddjax.kernels.infinite import mlp_kernel

Kernel = Callable[[Float[Array, "n d"], Float[Array, "m d"]], Float[Array, "n m"]]


def _linear(x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
    return gram(x, y) / x.shape[1] + 1


def _rbf(x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
    squares = jnp.sum(x**2, axis=1)[:, None] + jnp.sum(y**2, axis=1)[None] - 2 * gram(x, y)
    return jnp.exp(-jnp.maximum(squares, 0) / (2 * x.shape[1]))


KERNELS: Mapping[str, Callable[[], Kernel]] = {
    "linear": lambda: _linear,
    "rbf": lambda: _rbf,  # its width is the standard deviation of the features
    "ntk": functools.cache(lambda: mlp_kernel("ntk", 2)),
}
