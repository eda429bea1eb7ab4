"""Predictions of trained networks, and measures of them."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ddjax import checks
from ddjax.evaluation.measures import auc, denoising
from ddjax.training import predict
from ddjax.training.predict import by_blocks, each_member
from ddjax.types import Audit, Model, TrainSet


class Predicted(NamedTuple):
    """The predictions of one network."""

    classes: Int[np.ndarray, "n"]
    confidence: Float[np.ndarray, "n"]  # log probability of the predicted class


@functools.partial(jax.jit, static_argnames="model")
def _prediction(model: Model, params: Any, images: Any) -> tuple[jax.Array, jax.Array]:
    logits = predict(model, params, images)
    return jnp.argmax(logits, 1), jnp.max(jax.nn.log_softmax(logits), 1)


def predict_all(model: Model, params: Any, images: Any) -> list[Predicted]:
    """The predictions of each network for every image; `params` are stacked."""
    each = [by_blocks(functools.partial(_prediction, model, own), images) for own in each_member(params)]
    return [Predicted(*map(np.asarray, pair)) for pair in each]


def membership_auc(trained_on: list[Predicted], others: list[Predicted]) -> float | None:
    """AUC of a membership attack by confidence, a mean over networks.

    The attack does not need labels, so that wrong ones do not affect it (Salem et al., 2019, arXiv:1806.01246, their
    third adversary).

    Returns:
      The mean AUC, or None without training images.
    """
    pairs = zip(trained_on, others, strict=True) if trained_on else ()
    areas = [auc(seen.confidence, other.confidence) for seen, other in pairs]
    return float(np.mean(areas)) if areas else None


def training_set_view(predictions: list[Predicted], train: TrainSet, audit: Audit) -> dict[str, float]:
    """The denoising measures of predictions for the training set, as means over networks."""
    checks.audit(audit, train)
    given, clean = np.asarray(train.labels), np.asarray(audit.labels)
    return mean_of([denoising(p.classes, given, clean) for p in predictions])


def mean_of(measures: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each measure over networks."""
    return {name: float(np.mean([one[name] for one in measures])) for name in measures[0]}
