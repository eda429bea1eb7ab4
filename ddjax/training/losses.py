"""Losses per example; the trainer averages them with exact weights."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Loss = Callable[[Float[Array, "b k"], Float[Array, "b k"]], Float[Array, "b"]]


def cross_entropy(logits: Float[Array, "b k"], targets: Float[Array, "b k"]) -> Float[Array, "b"]:
    """- sum_k targets log softmax(logits): hard and soft targets alike."""
    return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)


def squared_error(logits: Float[Array, "b k"], targets: Float[Array, "b k"]) -> Float[Array, "b"]:
    """Half the squared distance over the number of classes (FRePo, RCIG)."""
    return 0.5 * jnp.mean((logits - targets) ** 2, axis=-1)


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "squared_error": squared_error}
