"""Losses corrected by a transition matrix T[i, j] = P(given = j | true = i), whose rows sum to one."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax.ranges import PositiveShare, checked
from ddjax.robust.rule import predictions
from ddjax.training.rule import Batch, Extra, Given, Loss, Outputs, Rule, Tables, weighted_mean
from ddjax.types import PRNGKey

_FLOOR = np.log(1e-7)  # a backward loss is otherwise unbounded below and above
_WORST = 1e3  # condition number


def forward_loss(
    logits: Float[Array, "b k"], labels: Int[Array, "b"], matrix: Float[Array, "k k"]
) -> Float[Array, "b"]:
    """- log P(given), the network's probabilities multiplied by T (Patrini et al., 2017, arXiv:1609.03683)."""
    return -jax.nn.logsumexp(jax.nn.log_softmax(logits) + jnp.log(matrix.T[labels]), axis=-1)


def backward_loss(
    logits: Float[Array, "b k"], labels: Int[Array, "b"], inverse: Float[Array, "k k"]
) -> Float[Array, "b"]:
    """Row `label` of T^-1 times the losses of all labels. Its mean over the noise is the loss of the true label."""
    return -jnp.sum(inverse[labels] * jnp.maximum(jax.nn.log_softmax(logits), _FLOOR), axis=-1)


@checked
def estimate_transition(probabilities: Float[Any, "n k"], quantile: PositiveShare = 1.0) -> Float[np.ndarray, "k k"]:
    """T from anchor images: row i is the prediction for the image whose probability of class i is at `quantile`.

    Args:
      probabilities: of a network that has not memorised the labels (cross-validated, or stopped early); otherwise the
        estimate is close to the identity.
      quantile: published as 0.97 for ten classes and 1 (the largest) for a hundred.

    Raises:
      ValueError: `quantile` is out of range.

    Example:
      >>> import numpy as np
      >>> from ddjax.robust.rules.transition import estimate_transition
      >>> estimate_transition(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])).tolist()
      [[0.9, 0.1], [0.2, 0.8]]
    """
    probabilities = np.asarray(probabilities, np.float64)
    place = int(np.ceil(quantile * (len(probabilities) - 1)))
    anchors = np.argsort(probabilities, axis=0, kind="stable")[place]
    rows = probabilities[anchors]
    return rows / rows.sum(axis=1, keepdims=True)


def invertible(matrix: Float[Any, "k k"]) -> Float[np.ndarray, "k k"]:
    """T, if its condition number is small enough for `backward_correction`; else a ValueError."""
    matrix = np.asarray(matrix, np.float64)
    condition = np.linalg.cond(matrix)
    if not condition <= _WORST:
        raise ValueError(f"matrix has condition number {condition:.3g}, above {_WORST:.0f}: use forward_correction")
    return matrix


@functools.cache
def forward_correction() -> Rule:
    """The rule of `forward_loss`. Its data is T [k k], known or estimated."""

    def loss(outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        return weighted_mean(forward_loss(outputs.logits[0, 0], batch.labels, tables["matrix"]), batch, tables)

    return Rule(loss=loss, start=_keep, export=predictions)


@functools.cache
def backward_correction() -> Rule:
    """The rule of `backward_loss`. Its data is T [k k], which `invertible` checks before: a compiled start cannot."""

    def loss(outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        return weighted_mean(backward_loss(outputs.logits[0, 0], batch.labels, tables["inverse"]), batch, tables)

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        return {"inverse": jnp.linalg.inv(_keep(key, given, data)["matrix"])}

    return Rule(loss=loss, start=start, export=predictions)


def _keep(key: PRNGKey, given: Given, data: Any) -> Tables:
    if data is None or jnp.shape(data) != (given.num_classes, given.num_classes):
        raise ValueError(
            f"a correction needs data, the transition matrix [{given.num_classes} {given.num_classes}] of each network "
            f"(rows true, columns given); got {None if data is None else jnp.shape(data)}. See estimate_transition"
        )
    return {"matrix": jnp.asarray(data, jnp.float32)}
