"""CutMix (Yun et al., 2019, arXiv:1905.04899) with one box per batch and mixed soft targets."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.types import Images, PRNGKey


def partners(key: PRNGKey, weights: Float[Array, "n"]) -> Int[Array, "n"]:
    """A permutation of the rows that sends rows of weight 1 to rows of weight 1, uniformly at random."""
    padded = (weights == 0).astype(jnp.float32)
    score = padded + jax.random.uniform(key, weights.shape, jnp.float32)  # below 1 on real rows, at least 1 on others
    return jnp.zeros(weights.shape, jnp.int32).at[jnp.argsort(padded)].set(jnp.argsort(score).astype(jnp.int32))


def cutmix(
    key: PRNGKey,
    images: Images,
    targets: Float[Array, "n k"],
    weights: Float[Array, "n"] | None = None,
    *,
    probability: float = 0.5,
    beta: float = 1.0,
) -> tuple[Images, Float[Array, "n k"]]:
    """With `probability`, one box of every image is replaced by its partner's, and the targets are mixed by area.

    A cross-entropy is linear in its targets, so the mixed row gives exactly the two-term loss
    ratio * CE(own) + (1 - ratio) * CE(partner's), and so does any loss linear in them. The box has
    floor(side * sqrt(1 - lam)) pixels an axis, lam ~ Beta(beta, beta), rounded down to an even number about a centre
    anywhere in the image; the ratio counts the pixels left after clipping. Rows of weight 0 (padding) never enter
    another row.
    """
    batch_key, partner_key, lam_key = jax.random.split(key, 3)
    mix, lam, *centre = jax.random.uniform(batch_key, (4,), jnp.float32)
    if beta != 1:  # Beta(1, 1) is the uniform distribution, and takes a second less to compile
        lam = jax.random.beta(lam_key, beta, beta, dtype=jnp.float32)
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
    """The box of relative side `cut` about the relative position `centre` (in [0, 1)), taken from the partners."""
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
