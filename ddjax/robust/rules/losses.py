"""Losses per image whose shape limits the effect of wrong labels. Targets are one-hot or mixed labels [b k]."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.ranges import NonNegative, PositiveShare, Share, checked
from ddjax.robust.rule import simple
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Rule

_LOG_OF_ZERO = math.log(1e-4)  # reverse cross-entropy replaces log 0 by this
_FLOOR = 1e-7  # the slope of a power below one is infinite at zero


def smoothed_cross_entropy(logits: Float[Array, "b k"], targets: Float[Array, "b k"], amount: float) -> Array:
    """Cross-entropy with a share `amount` of each target spread over all classes (Szegedy et al., 2016)."""
    return cross_entropy(logits, (1 - amount) * targets + amount / targets.shape[-1])


def bootstrapped(logits: Float[Array, "b k"], targets: Float[Array, "b k"], trust: float, hard: bool) -> Array:
    """Cross-entropy with a share 1 - `trust` of the target taken from the prediction (Reed et al., 2015)."""
    own = jax.lax.stop_gradient(jax.nn.softmax(logits))
    if hard:
        own = jax.nn.one_hot(jnp.argmax(own, axis=-1), own.shape[-1], dtype=own.dtype)
    return cross_entropy(logits, trust * targets + (1 - trust) * own)


def generalised(logits: Float[Array, "b k"], targets: Float[Array, "b k"], q: float) -> Array:
    """(1 - p^q) / q with the target's probability p: cross-entropy as q -> 0 (Zhang and Sabuncu, 2018)."""
    return jnp.sum(targets * (1 - jnp.maximum(jax.nn.softmax(logits), _FLOOR) ** q) / q, axis=-1)


def reverse(logits: Float[Array, "b k"], targets: Float[Array, "b k"]) -> Array:
    """- sum_k p_k log target_k with log 0 := log 1e-4: for one-hot targets, 9.21 (1 - p[label])."""
    return -_LOG_OF_ZERO * (1 - jnp.sum(targets * jax.nn.softmax(logits), axis=-1))


def symmetric(logits: Float[Array, "b k"], targets: Float[Array, "b k"], forward: float, backward: float) -> Array:
    """forward * cross-entropy + backward * reverse cross-entropy (Wang et al., 2019, arXiv:1908.06112)."""
    return forward * cross_entropy(logits, targets) + backward * reverse(logits, targets)


def normalised(logits: Float[Array, "b k"], targets: Float[Array, "b k"]) -> Array:
    """Cross-entropy divided by its sum over all labels, in (0, 1] (Ma et al., 2020, arXiv:2006.13554)."""
    return cross_entropy(logits, targets) / -jnp.sum(jax.nn.log_softmax(logits), axis=-1)


@functools.cache
def plain() -> Rule:
    """Cross-entropy with the given labels."""
    return simple(cross_entropy)


@checked
@functools.cache
def label_smoothing(amount: Share = 0.1) -> Rule:
    """The rule of `smoothed_cross_entropy`."""
    return simple(lambda logits, targets: smoothed_cross_entropy(logits, targets, amount))


@checked
@functools.cache
def bootstrap(trust: Share = 0.95, hard: bool = False) -> Rule:
    """The rule of `bootstrapped`; for the hard form, a trust of 0.8 is published."""
    return simple(lambda logits, targets: bootstrapped(logits, targets, trust, hard))


@checked
@functools.cache
def generalised_cross_entropy(q: PositiveShare = 0.7) -> Rule:
    """The rule of `generalised`."""
    return simple(lambda logits, targets: generalised(logits, targets, q))


@checked
@functools.cache
def symmetric_cross_entropy(forward: NonNegative = 0.1, backward: NonNegative = 1.0) -> Rule:
    """The rule of `symmetric`; published as (0.1, 1) for ten classes and (6, 0.1) for a hundred."""
    return simple(lambda logits, targets: symmetric(logits, targets, forward, backward))


@checked
@functools.cache
def active_passive(active: NonNegative = 1.0, passive: NonNegative = 1.0) -> Rule:
    """active * normalised + passive * reverse cross-entropy; published as (1, 1) for ten classes, (10, 0.1) for 100."""
    return simple(lambda z, targets: active * normalised(z, targets) + passive * reverse(z, targets))
