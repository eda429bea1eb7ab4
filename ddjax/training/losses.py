"""Losses per example. The trainer averages them with exact weights."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LossFunction = Callable[[Float[Array, "b k"], Float[Array, "b k"]], Float[Array, "b"]]


def cross_entropy(logits: Float[Array, "b k"], targets: Float[Array, "b k"]) -> Float[Array, "b"]:
    """- sum_k targets log softmax(logits), for hard and soft targets."""
    return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)


def squared_error(logits: Float[Array, "b k"], targets: Float[Array, "b k"]) -> Float[Array, "b"]:
    """Half the mean squared difference over the classes (FRePo, RCIG)."""
    return 0.5 * jnp.mean((logits - targets) ** 2, axis=-1)


LOSSES: dict[str, LossFunction] = {"cross_entropy": cross_entropy, "squared_error": squared_error}
