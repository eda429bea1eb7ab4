"""How often the likeliest class of a prediction is wrong, and probabilities that say so.

The clusters of the predictions (`ddjax.denoising.clusters`) say how far the network confuses classes that overlap. They
are too sure in two ways. A network also errs far from every boundary: one image in a hundred. And where clusters
overlap a lot, their shape is poorly known. Both corrections are constants that were chosen on predictions with known
truth; the documentation of the judge has the table.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.denoising.clusters import class_given_prediction

FAR = 0.01  # mistakes far from every boundary, as a share of all images
OVERLAP = 4.5  # mistakes beyond those of the clusters, in units of the cube of those
_WEAK = 0.4  # at this error, the network's own probabilities replace those of the clusters
_SAID = 0.2  # the least weight of the network's own probabilities
HALVINGS = 40
_LOG_SCALES = (-7.0, 7.0)
_TINY = 1e-12


class Doubt(NamedTuple):
    """log P(true class | prediction); the given label of the image itself plays no part."""

    near: Float[Array, "n k"]  # counts mistakes near boundaries: for the number of wrong labels
    all: Float[Array, "n k"]  # counts mistakes far from boundaries as well: for each label that is doubted


@jax.jit
def doubts(logs: Float[Array, "n k"], labels: Int[Array, "n"], at_least: Float[Array, ""]) -> Doubt:
    """Probabilities of the true class whose expected error is that of the predictions.

    Args:
      logs: log-probabilities, finite.
      labels: the given labels.
      at_least: a lower bound for the error; 0 where none is known.
    """
    clusters = class_given_prediction(logs, labels)
    chosen, drawn = error(clusters), 1 - jnp.mean(jnp.sum(jnp.exp(2 * clusters), axis=1))
    near = chosen + OVERLAP * chosen**3
    weak = jnp.minimum(1, drawn / _WEAK) ** 2
    said = logs - jnp.mean(logs, axis=1, keepdims=True)
    said /= jnp.sqrt(jnp.mean(said**2)) + _TINY

    def mixed(wanted: Float[Array, ""], weight: Float[Array, ""]) -> Float[Array, "n k"]:
        wanted = jnp.maximum(wanted, at_least)
        return with_error((1 - weight) * clusters + weight * with_error(said, wanted), wanted)

    return Doubt(mixed(near, weak), mixed(near + FAR, jnp.maximum(weak, _SAID)))


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
