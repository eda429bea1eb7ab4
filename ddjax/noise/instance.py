"""Instance-dependent noise: part-dependent, and polynomial-margin-diminishing (PMD) by the margin of a teacher."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, Integer

from ddjax import names
from ddjax.noise.labels import as_ids, as_labels
from ddjax.noise.transition import checked_rate
from ddjax.ranges import Positive, check
from ddjax.types import PRNGKey

Factor = float | Float[Array, ""]
ROWS = 256  # images in a chunk; the size is fixed, so that the scores of an example do not depend on the others


def part_dependent(
    images: Any, labels: Any, num_classes: int, rate: float, key: PRNGKey, *, ids: Any = None, std: float = 0.1
) -> Int32[np.ndarray, "n"]:
    """Part-dependent noise (Xia et al., NeurIPS 2020, as their released generator draws it).

    Example i flips with probability q_i ~ TruncatedNormal(rate, std) on [0, 1]. Its new label is drawn from the softmax
    of x_i W[y_i] over the other classes, with one Gaussian matrix W[c] per clean class. The scores of usual pixels are
    so large that the new label is almost a function of the image; only the flip is random.

    Args:
      images: [n h w c] or [n s]. uint8 is divided by 255, and floats are unchanged. The result depends on this choice.
      labels: clean labels [n].
      num_classes: k.
      rate: mean of q before truncation; the expected flip rate is close to it unless it is near 0 or 1.
      key: the label of example i depends on this key and its id.
      ids: [n] canonical indices, 0..n-1 by default.
      std: standard deviation of q before truncation.

    Returns:
      The given labels [n].

    Raises:
      ValueError: an argument is out of range, or the shapes differ.

    Example:
      >>> images = np.zeros((4, 2, 2, 1), np.uint8)
      >>> part_dependent(images, np.arange(4) % 2, 2, 0.4, jax.random.key(0)).shape
      (4,)
    """
    labels = as_labels(labels, num_classes)
    ids = as_ids(ids, len(labels)).astype(np.uint32)
    check(std, Positive, "std")
    mean, spread = jnp.float32(checked_rate(rate)), jnp.float32(std)
    images = np.asarray(images)
    if len(images) != len(labels) or images.ndim < 2:
        raise ValueError(f"images must be [n ...], one per label; got {list(images.shape)} for {len(labels)} labels")
    given = labels.copy()
    weight_key, example_key = jax.random.split(key)
    for c in np.unique(labels):
        weights = _weights(weight_key, int(c), int(np.prod(images.shape[1:])), num_classes)
        members = np.flatnonzero(labels == c)
        for start in range(0, len(members), ROWS):
            rows = members[start : start + ROWS]
            padded = np.resize(rows, ROWS)
            drawn = _flip(example_key, _pixels(images[padded]), ids[padded], weights, jnp.int32(c), mean, spread)
            given[rows] = np.asarray(drawn)[: len(rows)]
    return given


@partial(jax.jit, static_argnames="kind")
def pmd(
    probabilities: Float[Array, "n k"], ids: Integer[Array, "n"], key: PRNGKey, *, kind: str = "I", factor: Factor = 1.2
) -> Int32[Array, "n"]:
    """Polynomial-margin-diminishing labels (Zhang et al., ICLR 2021): the first or second choice of a teacher.

    An example gets its most likely class u with probability `pmd_keep`, and else the second most likely class s.
    Examples with a small margin are noisiest. The label does not depend on the clean label, so errors of the teacher
    are noisy.

    Args:
      probabilities: of the teacher.
      ids: canonical indices.
      key: the label of an example depends on this key and its id.
      kind: I, II or III; see `pmd_keep`.
      factor: see `tune_factor`.

    Returns:
      The given labels [n].

    Example:
      >>> p = jnp.array([[0.9, 0.1], [0.5, 0.5]])
      >>> pmd(p, jnp.arange(2), jax.random.key(0)).shape
      (2,)
    """
    first, second, keep = _margins(probabilities, kind, factor)
    uniform = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))(ids)
    return jnp.where(uniform < keep, first, second).astype(jnp.int32)


def pmd_keep(margin: Float[Array, "n"], *, kind: str = "I", factor: Factor = 1.2) -> Float[Array, "n"]:
    """The probability min((1 - f(d)) / factor, 1) of the first choice, for the margin d = p_u - p_s.

    f is 1/2 - d^2/2 for type I, 1 - d^3 for type II, 1 - (d^3 + d^2 + d)/3 for type III.
    """
    return jnp.minimum(names.choose(KEEP, kind, "PMD type")(margin) / factor, 1.0)


def tune_factor(
    probabilities: Float[Array, "n k"], labels: Integer[Array, "n"], rate: float, *, kind: str = "I"
) -> float:
    """Find the `factor` of `pmd` for which the expected share of wrong labels is `rate`.

    The possible rates lie between the error of the first choice and the error of the second choice.

    Raises:
      ValueError: the rate cannot be reached.
    """
    rate = checked_rate(rate)

    low, high = -20.0, 20.0
    least, most = (float(_expected_rate(probabilities, labels, bound, kind)) for bound in (low, high))
    if not least <= rate <= most:
        raise ValueError(
            f"PMD noise of type {kind} reaches rates from {least:.4f} (errors of the teacher) to {most:.4f} with these "
            f"probabilities, not {rate}"
        )
    for _ in range(40):
        middle = (low + high) / 2
        below = _expected_rate(probabilities, labels, middle, kind) < rate
        low, high = (middle, high) if below else (low, middle)
    return math.exp((low + high) / 2)


@partial(jax.jit, static_argnames="kind")
def _expected_rate(probabilities, labels, log_factor, kind):
    first, second, keep = _margins(probabilities, kind, jnp.exp(log_factor))
    return jnp.mean(keep * (first != labels) + (1 - keep) * (second != labels))


KEEP = {
    "I": lambda d: 0.5 + d**2 / 2,
    "II": lambda d: d**3,
    "III": lambda d: (d**3 + d**2 + d) / 3,
}


def _margins(probabilities, kind, factor):
    (top, runner_up), (first, second) = (x.T for x in jax.lax.top_k(probabilities, 2))
    return first, second, pmd_keep(top - runner_up, kind=kind, factor=factor)


def _pixels(images):
    flat = images.reshape(len(images), -1)
    return (flat / 255 if flat.dtype == np.uint8 else flat).astype(np.float32)


@partial(jax.jit, static_argnums=(2, 3))
def _weights(key, label, size, num_classes):
    return jax.random.normal(jax.random.fold_in(key, label), (size, num_classes))


@jax.jit
def _flip(key, images, ids, weights, label, mean, std):
    scores = jnp.matmul(images, weights, precision=jax.lax.Precision.HIGHEST).at[:, label].set(-jnp.inf)

    def one(i, targets):
        flip_key, target_key = jax.random.split(jax.random.fold_in(key, i))
        q = mean + std * jax.random.truncated_normal(flip_key, -mean / std, (1 - mean) / std)
        log_p = (jnp.log(q) + targets).at[label].set(jnp.log1p(-q))
        return jax.random.categorical(target_key, log_p).astype(jnp.int32)

    return jax.vmap(one)(ids, jax.nn.log_softmax(scores))
