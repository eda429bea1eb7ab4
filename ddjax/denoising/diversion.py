"""Trust-aware diversion (TAD, arXiv:2502.05027), reconstructed from its abstract and summaries; the code is not public.

Call it "TAD (as reconstructed)" in a table. Known are the two loops, the two-component mixture on losses within each
class, and the two measures of reliability: the Mahalanobis distance to the anchors of the trusted images of each class,
and the cosine to them. Not known are thresholds, so a measure here has none: an untrusted image is recalled with
another label if both measures and the network's prediction agree on it. In the paper both loops run inside the
distillation of trajectories; here they run before it, and so serve every distiller.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ddjax import trees
from ddjax.denoising.networks import Networks, young_recipe
from ddjax.kernels import matmul_highest
from ddjax.preprocess import one_hot
from ddjax.robust import make_rule
from ddjax.robust.mixture import clean_probability
from ddjax.rows import by_rows
from ddjax.training import Examples, fit
from ddjax.training.checking import all_finite
from ddjax.training.losses import cross_entropy
from ddjax.training.predict import predict
from ddjax.types import TrainSet

ROUNDS = 3  # of dividing and recalling
_LIKELY, _ENOUGH = 0.5, 20
_RIDGE = 1e-2  # relative to the mean variance of the features


def trusted(logits: Float[Array, "n k"], labels: Int[Array, "n"], num_classes: int) -> Bool[Array, "n"]:
    """The outer loop: labels whose loss belongs to the low component of the mixture of their class.

    Classes of fewer than 20 labels use the mixture of all classes.
    """
    losses = cross_entropy(logits, one_hot(labels, num_classes))
    overall = clean_probability(losses)

    def of_class(label: Array) -> Array:
        member = labels == label
        enough = jnp.sum(member) >= _ENOUGH
        return jnp.where(enough, clean_probability(losses, member | ~enough), overall)

    by_class = jax.lax.map(of_class, jnp.arange(num_classes))
    return jnp.take_along_axis(by_class, labels[None], axis=0)[0] > _LIKELY


def recalled(
    features: Float[Array, "n d"],
    logits: Float[Array, "n k"],
    labels: Int[Array, "n"],
    trust: Bool[Array, "n"],
) -> tuple[Bool[Array, "n"], Int[Array, "n"]]:
    """The inner loop: the untrusted images whose class is beyond doubt, and that class.

    Args:
      features: of a network.
      logits: of the same network.
      labels: the given labels.
      trust: which labels are trusted.

    Returns:
      Which images are recalled, and the class of each image; a trusted one keeps its label.
    """
    k = logits.shape[1]
    member = one_hot(labels, k) * trust[:, None]
    counts = jnp.maximum(member.sum(axis=0), 1)
    anchors = matmul_highest(member.T, features) / counts[:, None]
    apart = (features - anchors[labels]) * trust[:, None]
    spread = matmul_highest(apart.T, apart) / jnp.maximum(trust.sum(), 1)
    ridge = _RIDGE * jnp.trace(spread) / len(spread) + jnp.finfo(spread.dtype).tiny
    factor = jax.scipy.linalg.cho_factor(spread + ridge * jnp.eye(len(spread)))
    white = jax.scipy.linalg.cho_solve(factor, anchors.T)  # [d k]
    # |x - a|^2 in the metric, without the term of x alone
    near = jnp.argmin(jnp.sum(anchors.T * white, axis=0)[None] - matmul_highest(2 * features, white), axis=1)
    lengths = jnp.maximum(jnp.linalg.norm(anchors, axis=1), 1e-12)
    like = jnp.argmax(matmul_highest(features, anchors.T) / lengths[None], axis=1)
    said = jnp.argmax(logits, axis=1)
    sure = ~trust & (near == like) & (like == said) & (member.sum(axis=0)[said] > 0)
    return sure, jnp.where(sure, said, labels).astype(labels.dtype)


def diverted(train: TrainSet, networks: Networks) -> tuple[Int[np.ndarray, "m"], Int[np.ndarray, "m"]]:
    """Divide and recall in turn, with a network that trains on what was trusted in the round before.

    Args:
      train: the training set.
      networks: how a network is trained; one is, in each round, for a tenth of the plain recipe.

    Returns:
      The rows that are kept, and their labels.
    """
    given, recipe = jnp.asarray(train.labels), young_recipe(networks.epochs, networks.flip)
    labels, weights, k = given, jnp.ones(len(given)), train.num_classes
    model, images = networks.model, by_rows(train.images)
    keep = np.ones(len(given), bool)
    options = networks.begin("networks", ROUNDS * recipe.epochs)
    for number in range(ROUNDS):
        own = options.part(f"round-{number}").within(number * recipe.epochs, ROUNDS * recipe.epochs)
        fitted = fit(
            model,
            recipe,
            Examples(images, one_hot(labels, k)),
            networks.keys()[:1],
            rule=make_rule("weighted"),
            data=weights[None],
            options=own,
        )
        all_finite(fitted.params, fitted.loss, "networks of a round")
        params = trees.take(fitted.params, 0)
        logits, features = predict(model, params, images), predict(model._replace(apply=model.features), params, images)
        trust = trusted(logits, given, k)
        sure, labels = recalled(features, logits, given, trust)
        keep = np.asarray(trust | sure)
        weights = jnp.asarray(keep, jnp.float32)
    return np.flatnonzero(keep), np.asarray(labels)[keep]
