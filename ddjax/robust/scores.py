"""Scores of how suspicious given labels are, from class probabilities [n k]; larger is more suspicious.

The probabilities should be out of sample (cross-validated, or of a network that did not train on these labels), because
a network that has memorised a label does not doubt it.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_TINY = 1e-12


def self_confidence(probabilities: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, "n"]:
    """1 - p[given].

    Example:
      >>> import jax.numpy as jnp
      >>> from ddjax.robust.scores import self_confidence
      >>> self_confidence(jnp.array([[0.75, 0.25]]), jnp.array([0])).tolist()
      [0.25]
    """
    return 1 - _own(probabilities, labels)


def margin(probabilities: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, "n"]:
    """(1 + the largest other probability - p[given]) / 2, in [0, 1]."""
    other = jnp.where(labels[:, None] == jnp.arange(probabilities.shape[1])[None], -jnp.inf, probabilities)
    return (1 + jnp.max(other, axis=1) - _own(probabilities, labels)) / 2


def loss(probabilities: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, "n"]:
    """- log p[given]. The order is that of `self_confidence`, on the scale that the mixture needs."""
    return -jnp.log(jnp.maximum(_own(probabilities, labels), _TINY))


def confidence_weighted_entropy(probabilities: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, "n"]:
    """x / (1 + x) with x = relative entropy / p[given]; it is in [0, 1).

    The relative entropy is the entropy of the probabilities divided by that of the uniform distribution.
    """
    logs = jnp.log(jnp.maximum(probabilities, _TINY))
    entropy = -jnp.sum(probabilities * logs, axis=1) / jnp.log(probabilities.shape[1])
    weighed = entropy / jnp.maximum(_own(probabilities, labels), _TINY)
    return weighed / (1 + weighed)


def disagreement(members: Float[Array, "s n k"], labels: Int[Array, "n"]) -> Float[Array, "n"]:
    """Share of the members of an ensemble that predict another label. Their mean self-confidence breaks ties."""
    apart = jnp.mean((jnp.argmax(members, axis=2) != labels[None]).astype(members.dtype), axis=0)
    doubt = self_confidence(jnp.mean(members, axis=0), labels)
    return apart + doubt / (2 * len(members))  # less than one member's vote


SCORES: Mapping[str, Callable[[Array, Array], Array]] = {
    "self_confidence": self_confidence,
    "margin": margin,
    "loss": loss,
    "confidence_weighted_entropy": confidence_weighted_entropy,
}


def rank(suspicion: Float[Array, "n"]) -> Int[Array, "n"]:
    """0 for the most suspicious label, n - 1 for the least. Ties keep the order of the rows."""
    return jnp.argsort(jnp.argsort(-suspicion, stable=True))


def _own(probabilities: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, "n"]:
    return jnp.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
