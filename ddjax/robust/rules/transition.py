"""Losses corrected by a transition matrix T[i, j] = P(given = j | true = i), its rows summing to one."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax.robust.rule import Extra, Given, Loss, Out, Rule, Seen, Tables, mean
from ddjax.types import PRNGKey

_FLOOR = np.log(1e-7)  # backward losses are unbounded on both sides
_WORST = 1e3


def forward_loss(
    logits: Float[Array, "b k"], labels: Int[Array, "b"], matrix: Float[Array, "k k"]
) -> Float[Array, "b"]:
    """- log P(given): the network's probabilities sent through the noise (Patrini et al., 2017, arXiv:1609.03683)."""
    return -jax.nn.logsumexp(jax.nn.log_softmax(logits) + jnp.log(matrix.T[labels]), axis=-1)


def backward_loss(
    logits: Float[Array, "b k"], labels: Int[Array, "b"], inverse: Float[Array, "k k"]
) -> Float[Array, "b"]:
    """Row `label` of T^-1 times the losses of all labels: its mean over the noise is the loss of the true label."""
    return -jnp.sum(inverse[labels] * jnp.maximum(jax.nn.log_softmax(logits), _FLOOR), axis=-1)


def estimate_transition(probabilities: Float[Any, "n k"], quantile: float = 1.0) -> Float[np.ndarray, "k k"]:
    """T from anchors: row i is what is predicted for the image whose probability of class i is at `quantile`.

    The probabilities must come from a network that has not memorised the labels (cross-validated, or stopped early):
    otherwise the estimate is near the identity. Published: 0.97 for ten classes, 1 (the largest) for a hundred.
    """
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile is above 0 and at most 1, the most certain image; got {quantile}")
    probabilities = np.asarray(probabilities, np.float64)
    place = int(np.ceil(quantile * (len(probabilities) - 1)))
    anchors = np.argsort(probabilities, axis=0, kind="stable")[place]
    rows = probabilities[anchors]
    return rows / rows.sum(axis=1, keepdims=True)


def transition_error(found: Float[Any, "k k"], true: Float[Any, "k k"]) -> float:
    """Mean over rows of the total variation."""
    return float(0.5 * np.abs(np.asarray(found) - np.asarray(true)).sum(axis=1).mean())


def invertible(matrix: Float[Any, "k k"]) -> Float[np.ndarray, "k k"]:
    """T, checked to be one whose inverse does not blow a loss up."""
    matrix = np.asarray(matrix, np.float64)
    condition = np.linalg.cond(matrix)
    if not condition <= _WORST:
        raise ValueError(f"matrix has condition number {condition:.3g}, past {_WORST:.0f}: use forward_correction")
    return matrix


@functools.cache
def forward_correction() -> Rule:
    """See `forward_loss`; the rule's data is T [k k], known or estimated."""

    def loss(out: Out, seen: Seen, tables: Tables, extra: Extra) -> Loss:
        return mean(forward_loss(out.logits[0, 0], seen.labels, tables["matrix"]), seen, tables)

    return Rule(loss=loss, start=_keep)


@functools.cache
def backward_correction() -> Rule:
    """See `backward_loss`; the rule's data is T [k k], passed through `invertible`."""

    def loss(out: Out, seen: Seen, tables: Tables, extra: Extra) -> Loss:
        return mean(backward_loss(out.logits[0, 0], seen.labels, tables["inverse"]), seen, tables)

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        return {"inverse": jnp.linalg.inv(_keep(key, given, data)["matrix"])}

    return Rule(loss=loss, start=start)


def _keep(key: PRNGKey, given: Given, data: Any) -> Tables:
    if data is None or jnp.shape(data) != (given.num_classes, given.num_classes):
        raise ValueError(
            f"a correction needs data, the transition matrix [{given.num_classes} {given.num_classes}] of each network "
            f"(rows true, columns given); got {None if data is None else jnp.shape(data)}. See estimate_transition"
        )
    return {"matrix": jnp.asarray(data, jnp.float32)}
