"""Mixup: convex combinations of images and of their labels (Zhang et al., 2018, arXiv:1710.09412)."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.augment.cutmix import partners
from ddjax.ranges import NonNegative, checked
from ddjax.robust.rules.losses import plain
from ddjax.training.rule import Batch, Rule, Tables
from ddjax.types import PRNGKey


def mix(key: PRNGKey, batch: Batch, alpha: float, dominant: bool = False) -> Batch:
    """Images, targets and weights, mixed with those of another row by one share drawn from Beta(alpha, alpha).

    Args:
      key: of the share and the partners.
      batch: to mix.
      alpha: 0 mixes nothing.
      dominant: keep the share at or above one half, so that the first image dominates.
    """
    if alpha == 0:
        return batch
    share_key, partner_key = jax.random.split(key)
    share = jax.random.beta(share_key, alpha, alpha)
    share = jnp.maximum(share, 1 - share) if dominant else share
    return blend(batch, share, partners(partner_key, batch.present))


def blend(batch: Batch, share: Float[Array, ""], partner: Array) -> Batch:
    """share * row + (1 - share) * partner."""

    def half(x: Array, axis: int = 0) -> Array:
        return share * x + (1 - share) * jnp.take(x, partner, axis=axis)

    return batch._replace(images=half(batch.images, 1), targets=half(batch.targets), weights=half(batch.weights))


@checked
@functools.cache
def mixup(alpha: NonNegative = 1.0) -> Rule:
    """Cross-entropy of mixed images with mixed labels. A larger `alpha` mixes more evenly."""

    def prepare(key: PRNGKey, batch: Batch, tables: Tables) -> Batch:
        return mix(key, batch, alpha)

    return plain()._replace(prepare=prepare)
