"""What trained networks say of images, and what that tells of their training."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ddjax import checks
from ddjax.evaluation.measures import auc, denoising
from ddjax.training import predict
from ddjax.types import Audit, Model, TrainSet


class Predicted(NamedTuple):
    """What a network says of each image."""

    classes: Int[np.ndarray, "n"]
    confidence: Float[np.ndarray, "n"]  # log probability of that class


@functools.partial(jax.jit, static_argnames="model")
def _predictions(model: Model, params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    def one(params: Any) -> tuple[jax.Array, jax.Array]:
        logits = predict(model, params, images)
        return jnp.argmax(logits, 1), jnp.max(jax.nn.log_softmax(logits), 1)

    return jax.lax.map(one, params)


def predict_all(model: Model, params: Any, images: jax.Array) -> list[Predicted]:
    """What each student (params are stacked) says of every image."""
    classes, confidence = map(np.asarray, _predictions(model, params, images))
    return [Predicted(*pair) for pair in zip(classes, confidence, strict=True)]


def membership_auc(trained_on: list[Predicted], others: list[Predicted]) -> float | None:
    """How well confidence tells training images from test images, a mean over students; None without training images.

    For a student of a distilled set, training images are those that the set was made from. The attack needs no
    labels, so that wrong ones do not confound it (Salem et al., 2019, arXiv:1806.01246, their third adversary).
    """
    pairs = zip(trained_on, others, strict=True) if trained_on else ()
    found = [auc(seen.confidence, other.confidence) for seen, other in pairs]
    return float(np.mean(found)) if found else None


def training_set_view(predictions: list[Predicted], train: TrainSet, audit: Audit) -> dict[str, float]:
    """The denoising measures of the students' predictions for the training set, averaged."""
    checks.audit(audit, train)
    given, clean = np.asarray(train.labels), np.asarray(audit.labels)
    each = [denoising(p.classes, given, clean) for p in predictions]
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}
