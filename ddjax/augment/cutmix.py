"""CutMix (Yun et al., 2019, arXiv:1905.04899) with one box per batch and mixed soft targets."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.types import Images, PRNGKey


def partners(key: PRNGKey, weights: Float[Array, "n"]) -> Int[Array, "n"]:
    """A uniformly random permutation of the rows of weight 1. Rows of weight 0 are permuted among themselves."""
    padded = (weights == 0).astype(jnp.float32)
    score = padded + jax.random.uniform(key, weights.shape, jnp.float32)  # at least 1 for rows of weight 0 only
    return jnp.zeros(weights.shape, jnp.int32).at[jnp.argsort(padded)].set(jnp.argsort(score).astype(jnp.int32))


def cutmix(
    key: PRNGKey,
    images: Images,
    targets: Float[Array, "n k"],
    weights: Float[Array, "n"] | None = None,
    *,
    probability: float = 0.5,
) -> tuple[Images, Float[Array, "n k"]]:
    """With probability `probability`, replace a box of every image by that of a partner, and mix the targets by area.

    A loss that is linear in its targets, such as the cross-entropy, then equals the two-term loss ratio * loss(own
    target) + (1 - ratio) * loss(target of the partner). The box has floor(side * sqrt(1 - lam)) pixels along an axis,
    rounded down to an even number, with lam uniform (Beta(1, 1)). Its centre is anywhere in the image, and the ratio
    counts the pixels after clipping.

    Args:
      key: of the box and the partners.
      images: of the batch.
      targets: of the batch.
      weights: 0 for padding rows, which are not mixed into other rows; by default all 1.
      probability: of mixing, for the whole batch.

    Returns:
      The mixed images and targets.

    Example:
      >>> images, targets = jax.jit(cutmix)(jax.random.key(0), jnp.zeros((4, 8, 8, 1)), jnp.eye(4))
      >>> images.shape, targets.shape
      ((4, 8, 8, 1), (4, 4))
    """
    batch_key, partner_key, _ = jax.random.split(key, 3)
    mix, lam, *centre = jax.random.uniform(batch_key, (4,), jnp.float32)
    cut = jnp.where(mix < probability, jnp.sqrt(1 - lam), 0)
    partner = partners(partner_key, jnp.ones(len(images)) if weights is None else weights)
    return paste(images, targets, partner, cut, jnp.stack(centre))


def paste(
    images: Images,
    targets: Float[Array, "n k"],
    partner: Int[Array, "n"],
    cut: Float[Array, ""],
    centre: Float[Array, "2"],
) -> tuple[Images, Float[Array, "n k"]]:
    """Replace the box of relative side `cut` at the relative centre `centre` (in [0, 1)) by that of the partners."""
    inside = []
    for axis, side in enumerate(images.shape[1:3]):
        half = jnp.floor(side * cut).astype(jnp.int32) // 2
        middle = jnp.floor(side * centre[axis]).astype(jnp.int32)
        at = jnp.arange(side, dtype=jnp.int32)
        inside.append((at >= middle - half) & (at < middle + half))
    box = inside[0][:, None] & inside[1][None]
    share = box.mean(dtype=targets.dtype)
    pasted = jnp.where(box[None, :, :, None], images[partner], images)
    return pasted, (1 - share) * targets + share * targets[partner]
