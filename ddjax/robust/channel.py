"""Label noise as a channel: the given label is drawn from row T[true] of a transition matrix.

Given P(true class | image) for each image, expectation maximisation finds the channel under which the given labels are
likeliest, and with it P(true class | image, given label).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.kernels import matmul_highest

ROUNDS = 30
STRENGTH = 10.0
_START = 0.2  # the noise rate that the search starts from
_TINY = 1e-12


class Channel(NamedTuple):
    """The likeliest channel and what follows from it for each image."""

    transition: Float[Array, "k k"]  # T[true, given], rows sum to one
    truth: Float[Array, "n k"]  # P(true class | image, given label)


@jax.jit
def fit_channel(log_true: Float[Array, "n k"], labels: Int[Array, "n"]) -> Channel:
    """The likeliest channel by expectation maximisation.

    Args:
      log_true: log P(true class | image), from predictions that did not see the given labels.
      labels: the given labels.
    """
    k = log_true.shape[1]

    def round_(_: Array, transition: Float[Array, "k k"]) -> Float[Array, "k k"]:
        return transition_of(posterior(log_true, transition, labels), labels)

    start = _even(jnp.asarray(_START, log_true.dtype), k)
    transition = jax.lax.fori_loop(0, ROUNDS, round_, start)
    return Channel(transition, posterior(log_true, transition, labels))


def posterior(
    log_true: Float[Array, "n k"], transition: Float[Array, "k k"], labels: Int[Array, "n"]
) -> Float[Array, "n k"]:
    """P(true class | image, given label) under a channel; `log_true` may be off by a constant per image."""
    return jax.nn.softmax(log_true + jnp.log(transition + _TINY).T[labels], axis=1)


def transition_of(truth: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, "k k"]:
    """The channel that P(true class) of each image and the given labels imply.

    Each row is shrunk, with the pseudo-count `STRENGTH`, to one noise rate that all rows share and that is spread
    evenly over the wrong labels. This matters for classes with few images.
    """
    k = truth.shape[1]
    counts = matmul_highest(truth.T, jax.nn.one_hot(labels, k, dtype=truth.dtype))
    rate = 1 - jnp.trace(counts) / jnp.sum(counts)
    return (counts + STRENGTH * _even(rate, k)) / (jnp.sum(counts, axis=1, keepdims=True) + STRENGTH)


def wrong(truth: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, "n"]:
    """P(the given label is wrong); its mean is the estimated share of wrong labels."""
    return 1 - jnp.take_along_axis(truth, labels[:, None], axis=1)[:, 0]


def _even(rate: Float[Array, ""], k: int) -> Float[Array, "k k"]:
    """The channel that flips a share `rate` of every class evenly to the others."""
    return (1 - rate) * jnp.eye(k) + rate / max(k - 1, 1) * (1 - jnp.eye(k))
