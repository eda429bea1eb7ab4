"""The outer problem of RCIG: score a real batch by the kernel-ridge prediction, and combine the two gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ddjax.kernels import matmul_highest, solve
from ddjax.kernels.ridge import Factor
from ddjax.trees import record


@record()
class Support:
    """What is learned: images, regression labels, and the logarithm of the outer loss's inverse temperature."""

    images: Any  # [m h w c]
    labels: Any  # [m k]
    log_temperature: Any  # []


class Scored(NamedTuple):
    """The outer loss with what is logged beside it."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]


def expand(support: Support, flip: bool) -> tuple[Float[Array, "n h w c"], Float[Array, "n k"]]:
    """Images and labels that the losses see: the learned ones, then their mirror images."""
    if not flip:
        return support.images, support.labels
    return (
        jnp.concatenate([support.images, support.images[:, :, ::-1]]),
        jnp.concatenate([support.labels, support.labels]),
    )


def one_of_centered(targets: Float[Array, "b k"]) -> Float[Array, "b k"]:
    """Centred one-hot rows back to zeros and ones."""
    return targets - targets.min(axis=1, keepdims=True)


def margin(labels: Float[Array, "n k"], cap: float) -> Float[Array, ""]:
    """Mean lead of the largest entry of a row over its second largest, counted up to `cap`."""
    top = jax.lax.top_k(labels, 2)[0]
    return jnp.mean(jnp.minimum(top[:, 0] - top[:, 1], cap))


def predict(
    k_bn: Float[Array, "b n"],
    factor: Factor,
    left: Float[Array, "n k"],
    outputs: Float[Array, "b k"],
) -> Float[Array, "b k"]:
    """O_b + K_b A^-1 (Y - O)."""
    return outputs + matmul_highest(k_bn, solve(factor, left))


def outer_loss(
    predictions: Float[Array, "b k"],
    targets: Float[Array, "b k"],
    labels: Float[Array, "n k"],
    log_temperature: Float[Array, ""],
) -> Scored:
    """Cross-entropy of softmax(e^tau Z) less the margin of the learned labels up to 1 / (2 k); targets are centred."""
    scaled = jnp.exp(log_temperature) * predictions
    fit = jnp.mean(optax.softmax_cross_entropy(scaled, one_of_centered(targets)))
    hit = jnp.argmax(predictions, axis=1) == jnp.argmax(targets, axis=1)
    return Scored(fit - margin(labels, 1 / (2 * labels.shape[1])), jnp.mean(hit.astype(predictions.dtype)))


def norm(leaf: Array) -> Float[Array, ""]:
    """2-norm over all entries."""
    return jnp.sqrt(jnp.sum(leaf**2))


def clip_to(direct: Any, indirect: Any) -> Any:
    """Each leaf of `indirect`, shrunk where needed to the norm of the same leaf of `direct`; zero stays zero.

    Values that are not finite stay so, to be seen; `hide_nonfinite` makes them zero, as published code does.
    """

    def clip(direct: Array, indirect: Array) -> Array:
        size = norm(indirect)
        factor = jnp.where(size > norm(direct), norm(direct) / jnp.where(size > 0, size, 1), 1)
        return indirect * jnp.where(jnp.isnan(size), jnp.nan, factor)

    return jax.tree.map(clip, direct, indirect)


@record()
class Average:
    """An exponential moving average from zero, and how many values went into it."""

    hidden: Any
    count: Any  # int32 []


def average_init(tree: Any) -> Average:
    """Nothing averaged yet."""
    return Average(hidden=jax.tree.map(jnp.zeros_like, tree), count=jnp.int32(0))


def average_add(average: Average, tree: Any, decay: float) -> Average:
    """h <- decay h + (1 - decay) p."""
    hidden = jax.tree.map(lambda h, p: decay * h + (1 - decay) * p, average.hidden, tree)
    return Average(hidden=hidden, count=average.count + 1)


def average_value(average: Average, decay: float, otherwise: Any) -> Any:
    """h / (1 - decay^count), free of the bias towards zero; `otherwise` where nothing was averaged yet."""
    weight = 1 - jnp.power(decay, average.count.astype(jnp.float32))
    some = average.count > 0
    return jax.tree.map(
        lambda h, p: jnp.where(some, h / jnp.where(some, weight, 1).astype(h.dtype), p), average.hidden, otherwise
    )
