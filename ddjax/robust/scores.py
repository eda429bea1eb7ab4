"""How suspicious a given label is, from class probabilities [n k]: larger is more suspicious in every score.

The probabilities are best out of sample (cross-validated, or of a network that did not train on these labels): one
that has memorised a label does not suspect it.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_TINY = 1e-12


def self_confidence(probabilities: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, "n"]:
    """1 - p[given]."""
    return 1 - _own(probabilities, labels)


def margin(probabilities: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, "n"]:
    """(1 + the largest other probability - p[given]) / 2, in [0, 1]."""
    other = jnp.where(labels[:, None] == jnp.arange(probabilities.shape[1])[None], -jnp.inf, probabilities)
    return (1 + jnp.max(other, axis=1) - _own(probabilities, labels)) / 2


def loss(probabilities: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, "n"]:
    """- log p[given]: the order of `self_confidence`, spread out where labels are doubted."""
    return -jnp.log(jnp.maximum(_own(probabilities, labels), _TINY))


def confidence_weighted_entropy(probabilities: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, "n"]:
    """p[given] over the entropy relative to uniform, mapped to [0, 1): unsure labels of unsure images come late."""
    logs = jnp.log(jnp.maximum(probabilities, _TINY))
    entropy = -jnp.sum(probabilities * logs, axis=1) / jnp.log(probabilities.shape[1])
    weighed = entropy / jnp.maximum(_own(probabilities, labels), _TINY)
    return weighed / (1 + weighed)


def disagreement(members: Float[Array, "s n k"], labels: Int[Array, "n"]) -> Float[Array, "n"]:
    """Share of an ensemble's members that predict another label than the given one; their mean doubt breaks ties."""
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
    """0 for the most suspicious, n - 1 for the least; ties in the order of the rows."""
    return jnp.argsort(jnp.argsort(-suspicion, stable=True))


def _own(probabilities: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, "n"]:
    return jnp.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
