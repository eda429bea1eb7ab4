"""Mixup: convex combinations of images and of their labels (Zhang et al., 2018, arXiv:1710.09412)."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.ranges import NonNegative, checked
from ddjax.robust.rule import Rule, Seen, Tables
from ddjax.robust.rules.losses import plain
from ddjax.types import PRNGKey


def mix(key: PRNGKey, seen: Seen, alpha: float, dominant: bool = False) -> Seen:
    """Images, targets and weights, each mixed with another row's by one share drawn from Beta(alpha, alpha).

    `dominant` keeps the share at or above one half, so that the first image stays the main one. alpha 0 mixes nothing.
    """
    if alpha == 0:
        return seen
    share_key, partner_key = jax.random.split(key)
    share = jax.random.beta(share_key, alpha, alpha)
    share = jnp.maximum(share, 1 - share) if dominant else share
    # absent rows come last in a batch, and sort last: those present are shuffled among themselves
    partner = jnp.argsort(jax.random.uniform(partner_key, seen.present.shape) + 1 - seen.present)
    return blend(seen, share, partner)


def blend(seen: Seen, share: Float[Array, ""], partner: Array) -> Seen:
    """share * row + (1 - share) * its partner."""

    def half(x: Array, axis: int = 0) -> Array:
        return share * x + (1 - share) * jnp.take(x, partner, axis=axis)

    return seen._replace(images=half(seen.images, 1), targets=half(seen.targets), weights=half(seen.weights))


@checked
@functools.cache
def mixup(alpha: NonNegative = 1.0) -> Rule:
    """Cross-entropy of mixed images with mixed labels; larger `alpha` mixes more evenly."""

    def prepare(key: PRNGKey, seen: Seen, tables: Tables) -> Seen:
        return mix(key, seen, alpha)

    return plain()._replace(prepare=prepare)
