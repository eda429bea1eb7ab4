"""Noise that depends on the image: part-dependent, and polynomial-margin-diminishing around a teacher's boundary."""

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
from ddjax.types import PRNGKey

Factor = float | Float[Array, ""]
ROWS = 256  # images at a time, always this many, so that an example's scores do not depend on its neighbours


def part_dependent(
    images: Any, labels: Any, num_classes: int, rate: float, key: PRNGKey, *, ids: Any = None, std: float = 0.1
) -> Int32[np.ndarray, "n"]:
    """Part-dependent noise (Xia et al., NeurIPS 2020, as their released generator draws it).

    Example i flips with probability q_i ~ TruncatedNormal(rate, std) on [0, 1]; where to, says the softmax of
    x_i W[y_i] over the other classes, with one Gaussian matrix W[c] per clean class. The scores of usual pixels are
    so large that the target is almost a function of the image, and only the flip itself is random.

    Args:
        images: [n h w c] or [n s]; uint8 is divided by 255, floats are taken as they are. State which with a result.
        labels: clean, [n].
        num_classes: k.
        rate: mean of q before truncation; the expected flip rate is close to it away from 0 and 1.
        key: everything about example i is drawn from this and its id.
        ids: [n] canonical indices, 0..n-1 by default.
        std: spread of q.
    """
    labels = as_labels(labels, num_classes)
    ids = as_ids(ids, len(labels)).astype(np.uint32)
    mean, spread = jnp.float32(checked_rate(rate)), jnp.float32(std)
    if std <= 0:
        raise ValueError(f"std must be positive, got {std}")
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
    """Polynomial-margin-diminishing labels (Zhang et al., ICLR 2021): the teacher's first or second choice.

    An example gets its most likely class u with probability `pmd_keep`, else the runner-up s, so those with a small
    margin are noisiest. The label is u or s whatever the clean one is: what the teacher gets wrong is always noisy.
    """
    first, second, keep = _margins(probabilities, kind, factor)
    uniform = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))(ids)
    return jnp.where(uniform < keep, first, second).astype(jnp.int32)


def pmd_keep(margin: Float[Array, "n"], *, kind: str = "I", factor: Factor = 1.2) -> Float[Array, "n"]:
    """(1 - f(d)) / factor, at most 1, of the margin d = p_u - p_s.

    f is 1/2 - d^2/2 for type I, 1 - d^3 for type II, 1 - (d^3 + d^2 + d)/3 for type III.
    """
    return jnp.minimum(names.choose(KEEP, kind, "PMD type")(margin) / factor, 1.0)


def tune_factor(
    probabilities: Float[Array, "n k"], labels: Integer[Array, "n"], rate: float, *, kind: str = "I"
) -> float:
    """The `factor` at which the expected share of labels that differ from the clean ones is `rate`.

    It lies between the teacher's error (first choice always) and the error of its runner-up (second choice always).
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
