"""How often the likeliest class of a prediction is wrong, and probabilities that say so.

There are two estimates. The clusters of the predictions (`ddjax.denoising.clusters`) say how far the network confuses
classes that overlap. They are right where they are tight, whatever made the labels wrong. Where the clusters of a
single prediction overlap, they need not be classes at all, and the given labels decide (`ddjax.denoising.likelihood`).
Networks that differ, and yet agree with each other against a label, are evidence against it, so their clusters are
believed. Networks that hardly differ count as one. Near neither limit, both estimates count.

Clusters are too sure in two ways. A network also errs far from every boundary: one image in a hundred. And where
clusters overlap a lot, their shape is poorly known. These corrections and the limits are constants that were chosen on
predictions with known truth; the documentation of the judge has the table.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.denoising.clusters import class_given_prediction
from ddjax.denoising.likelihood import likely_error, recalibrated

FAR = 0.01  # mistakes far from every boundary, as a share of all images
OVERLAP = 4.5  # mistakes beyond those of the clusters, in units of the cube of those
_WEAK = 0.4  # at this error, the network's own probabilities replace those of the clusters
TIGHT, LOOSE = 0.10, 0.13  # errors of clusters: below, they are believed; above, the likelihood of the labels is
ALIKE, DIFFER = 0.15, 0.25  # outvoted networks by likely errors: below, networks count as one; above, as several
_POOLED = 0.7  # what networks together err, of what they err at least one by one
_SAID = 0.2  # the least weight of the network's own probabilities
HALVINGS = 40
_LOG_SCALES = (-7.0, 7.0)
_TINY = 1e-12


def doubts(logs: Float[Array, "n k"], labels: Int[Array, "n"], outvoted: Float[Array, ""]) -> Float[Array, "2 n k"]:
    """log P(true class | prediction), with the expected error of the predictions.

    The given label of the image itself plays no part.

    Args:
      logs: log-probabilities, finite.
      labels: the given labels.
      outvoted: the mean share of networks that the others outvote; 0 for one network.

    Returns:
      The first counts mistakes near boundaries: for the number of wrong labels. The second counts mistakes far from
      boundaries as well: for each label that is doubted.
    """
    clusters = class_given_prediction(logs, labels)
    tight, drawn = error(clusters), 1 - jnp.mean(jnp.sum(jnp.exp(2 * clusters), axis=1))
    near, weight = tight + OVERLAP * tight**3, jnp.minimum(1, drawn / _WEAK) ** 2
    said = _scaled(logs)
    loose = jnp.clip((tight - TIGHT) / (LOOSE - TIGHT), 0, 1)

    def asked() -> tuple[Array, Array]:
        fitted = _scaled(recalibrated(said, labels))
        return fitted, jnp.maximum(likely_error(fitted, labels), tight)

    fitted, likely = jax.lax.cond(loose > 0, asked, lambda: (said, near))
    loose *= jnp.clip((DIFFER - outvoted / (likely + _TINY)) / (DIFFER - ALIKE), 0, 1)
    said = said + loose * (fitted - said)
    near, weight = near + loose * (likely - near), weight + loose * (1 - weight)

    def mixed(pair: tuple[Float[Array, ""], Float[Array, ""]]) -> Float[Array, "n k"]:
        wanted, weight = pair
        return with_error((1 - weight) * clusters + weight * with_error(said, wanted), wanted)

    wanted = jnp.maximum(jnp.stack([near, near + FAR]), _POOLED * outvoted)
    weights = jnp.stack([weight, jnp.maximum(weight, _SAID)])
    return jax.lax.map(mixed, (wanted, weights))  # in turn, by one program


def _scaled(logs: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Centred in each row, with root mean square one."""
    centred = logs - jnp.mean(logs, axis=1, keepdims=True)
    return centred / (jnp.sqrt(jnp.mean(centred**2)) + _TINY)


def error(log_true: Float[Array, "n k"]) -> Float[Array, ""]:
    """The expected share of images whose likeliest class is wrong."""
    return 1 - jnp.mean(jnp.exp(jnp.max(log_true, axis=1)))


def with_error(logs: Float[Array, "n k"], wanted: Float[Array, ""]) -> Float[Array, "n k"]:
    """Log-probabilities divided by the temperature at which their expected error is as wanted, by bisection."""

    def tempered(log_scale: Float[Array, ""]) -> Float[Array, "n k"]:
        return jax.nn.log_softmax(logs / jnp.exp(log_scale), axis=1)

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        sure = error(tempered(middle)) < wanted
        return jnp.where(sure, middle, low), jnp.where(sure, high, middle)

    ends = tuple(jnp.asarray(end, logs.dtype) for end in _LOG_SCALES)
    return tempered(jax.lax.fori_loop(0, HALVINGS, halve, ends)[0])
