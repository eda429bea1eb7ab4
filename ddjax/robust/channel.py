"""Label noise as a channel behind a network's prediction: how likely each given label is to be wrong.

The model: an image has a true class with probabilities softmax(logits / temperature), and its given label comes out of
a channel T[true, given]. Temperature and channel are those under which the given labels are likeliest. A network that
is unsure of an image explains a disagreement by its temperature, one that is sure by the channel: so on right labels
the channel stays near the identity, although the network errs there, too. The logits must come from a network that
has not trained on these labels, otherwise it has no disagreements to explain.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax.kernels import matmul_highest

_TEMPERATURES = np.geomspace(0.01, 10.0, 31)  # times the deviation of the logits
_ROUNDS = 40
PASSES = (len(_TEMPERATURES) + 1) * (_ROUNDS + 1)  # over all logits, in one fit
_TINY = 1e-12


class Channel(NamedTuple):
    """What explains the given labels best."""

    temperature: Float[Array, ""]
    transition: Float[Array, "k k"]  # T[true, given], rows sum to one
    likelihood: Float[Array, ""]  # mean log P(given | image)
    truth: Float[Array, "n k"]  # P(true class | image, given label)


@functools.partial(jax.jit, static_argnames="strength")
def fit_channel(logits: Float[Array, "n k"], labels: Int[Array, "n"], *, strength: float = 10.0) -> Channel:
    """The likeliest temperature (of a fixed grid) with the likeliest channel (by expectation maximisation) for it.

    Args:
      strength: each class's row of the channel is drawn to one noise rate that all share, spread evenly over the wrong
        labels, as if so many labels more had been seen to follow it. It matters for classes with few images.
    """
    k = logits.shape[1]
    scale = jnp.std(logits - jnp.mean(logits, axis=1, keepdims=True)) + _TINY
    given = jax.nn.one_hot(labels, k, dtype=logits.dtype)

    def explained(log_true: Float[Array, "n k"], transition: Float[Array, "k k"]) -> tuple[Array, Array]:
        joint = log_true + jnp.log(transition + _TINY).T[labels]
        total = jax.nn.logsumexp(joint, axis=1, keepdims=True)
        return jnp.exp(joint - total), jnp.mean(total)

    def one(temperature: Float[Array, ""]) -> Channel:
        log_true = jax.nn.log_softmax(logits / (temperature * scale))

        def round_(_: Array, transition: Float[Array, "k k"]) -> Float[Array, "k k"]:
            truth, _ = explained(log_true, transition)
            counts = matmul_highest(truth.T, given)
            rate = 1 - jnp.trace(counts) / jnp.sum(counts)
            common = _even(rate, k)
            return (counts + strength * common) / (jnp.sum(counts, axis=1, keepdims=True) + strength)

        transition = jax.lax.fori_loop(0, _ROUNDS, round_, _even(jnp.asarray(0.2, logits.dtype), k))
        truth, likelihood = explained(log_true, transition)
        return Channel(temperature * scale, transition, likelihood, truth)

    grid = jnp.asarray(_TEMPERATURES, logits.dtype)
    best = jnp.argmax(jax.lax.map(lambda t: one(t).likelihood, grid))
    return one(grid[best])


def wrong(found: Channel, labels: Int[Array, "n"]) -> Float[Array, "n"]:
    """P(the given label is wrong); its mean is the estimated share of wrong labels."""
    return 1 - jnp.take_along_axis(found.truth, labels[:, None], axis=1)[:, 0]


def _even(rate: Float[Array, ""], k: int) -> Float[Array, "k k"]:
    """The channel that flips a share `rate` of every class evenly to the others."""
    return (1 - rate) * jnp.eye(k) + rate / max(k - 1, 1) * (1 - jnp.eye(k))
