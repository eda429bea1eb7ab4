"""The outer problem of RCIG: the loss of the kernel-ridge prediction on a real batch, and the sum of both gradients."""

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
    """The learned quantities: images, regression labels, and the logarithm of the outer loss's inverse temperature."""

    images: Any  # [m h w c]
    labels: Any  # [m k]
    log_temperature: Any  # []


class Scored(NamedTuple):
    """The outer loss, and the logged accuracy."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]


def expand(support: Support, flip: bool) -> tuple[Float[Array, "n h w c"], Float[Array, "n k"]]:
    """Images and labels as the losses see them: the learned ones and, with `flip`, their flipped copies."""
    if not flip:
        return support.images, support.labels
    return (
        jnp.concatenate([support.images, support.images[:, :, ::-1]]),
        jnp.concatenate([support.labels, support.labels]),
    )


def one_of_centered(targets: Float[Array, "b k"]) -> Float[Array, "b k"]:
    """Centred one-hot rows converted back to zeros and ones."""
    return targets - targets.min(axis=1, keepdims=True)


def margin(labels: Float[Array, "n k"], cap: float) -> Float[Array, ""]:
    """Mean difference between the largest and the second largest entry of a row, each capped at `cap`."""
    top = jax.lax.top_k(labels, 2)[0]
    return jnp.mean(jnp.minimum(top[:, 0] - top[:, 1], cap))


def predict(
    k_bn: Float[Array, "b n"],
    factor: Factor,
    residual: Float[Array, "n k"],
    outputs: Float[Array, "b k"],
) -> Float[Array, "b k"]:
    """The prediction O_b + K_b A^-1 (Y - O); `residual` is Y - O."""
    return outputs + matmul_highest(k_bn, solve(factor, residual))


def outer_loss(
    predictions: Float[Array, "b k"],
    targets: Float[Array, "b k"],
    labels: Float[Array, "n k"],
    log_temperature: Float[Array, ""],
) -> Scored:
    """Cross-entropy of softmax(e^tau Z) minus the margin of the learned labels, capped at 1 / (2 k).

    Args:
      predictions: Z.
      targets: centred one-hot rows.
      labels: the learned labels.
      log_temperature: tau.

    Returns:
      Loss and accuracy.
    """
    scaled = jnp.exp(log_temperature) * predictions
    fit = jnp.mean(optax.softmax_cross_entropy(scaled, one_of_centered(targets)))
    hit = jnp.argmax(predictions, axis=1) == jnp.argmax(targets, axis=1)
    return Scored(fit - margin(labels, 1 / (2 * labels.shape[1])), jnp.mean(hit.astype(predictions.dtype)))


def clip_to(direct: Any, indirect: Any) -> Any:
    """Scale each leaf of `indirect` down to the norm of the same leaf of `direct` if it is larger.

    A zero leaf stays zero. Values that are not finite stay, so that the guard sees them.
    """

    def clip(direct: Array, indirect: Array) -> Array:
        size, most = optax.tree.norm(indirect), optax.tree.norm(direct)
        factor = jnp.where(size > most, most / jnp.where(size > 0, size, 1), 1)
        return indirect * jnp.where(jnp.isnan(size), jnp.nan, factor)

    return jax.tree.map(clip, direct, indirect)
