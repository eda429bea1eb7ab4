"""One NCFM iteration; classes share networks and frequencies, and nothing else.

As in DANCE, published code takes an optimiser step for all classes after the gradient of each class. `coast` takes the
steps in which a class has no gradient of its own, so that all classes can be updated in parallel.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ddjax.distillers.dance.feed import ClassBatch
from ddjax.distillers.dance.step import (
    Views,
    augmented,
    clamped,
    classes_at_once,
    count_shown,
    drifts,
    shown,
    side_by_side,
    view_key,
)
from ddjax.distillers.ncfm.config import NcfmConfig
from ddjax.distillers.ncfm.matching import characteristic, distance
from ddjax.models.layers import unit
from ddjax.trees import record
from ddjax.types import Images, PRNGKey

_SECOND, _EPSILON = 0.999, 1e-8  # of AdamW


@record()
class Moving:
    """Images of one class, or of all with a leading axis, and AdamW's moments."""

    images: Any  # [n h w c]
    first: Any
    second: Any


class Report(NamedTuple):
    """Logged values of a class."""

    matching: Float[Array, ""]
    calibration: Float[Array, ""]
    outside: Float[Array, ""]  # the largest distance of a pixel from 0..1


def plateau(config: NcfmConfig) -> optax.GradientTransformationExtraArgs:
    """The schedule of the learning rate: half of it after `patience` iterations without a lower loss."""
    return optax.contrib.reduce_on_plateau(0.5, config.patience or 2**30, min_scale=0.0)


def descend(
    config: NcfmConfig, moving: Moving, gradient: Array, done: Int[Array, ""], rate: Float[Array, ""]
) -> Moving:
    """One step of AdamW after `done` steps."""
    first = config.momentum * moving.first + (1 - config.momentum) * gradient
    second = _SECOND * moving.second + (1 - _SECOND) * gradient**2
    count = (done + 1).astype(first.dtype)
    mean, square = first / (1 - config.momentum**count), second / (1 - _SECOND**count)
    images = moving.images * (1 - rate * config.weight_decay) - rate * mean / (jnp.sqrt(square) + _EPSILON)
    return Moving(images=images, first=first, second=second)


def coast(
    config: NcfmConfig, moving: Moving, steps: Int[Array, ""], done: Int[Array, ""], rate: Float[Array, ""]
) -> Moving:
    """`steps` steps of AdamW with zero gradients."""
    nothing = jnp.zeros_like(moving.images)
    return jax.lax.fori_loop(0, steps, lambda i, m: descend(config, m, nothing, done + i, rate), moving)


def advance(
    views: Views,
    points: Float[Array, "f d"],
    moving: Moving,
    step: Int[Array, ""],
    factor: Float[Array, ""],
    batch: ClassBatch,
    key: PRNGKey,
) -> tuple[Moving, Report, Float[Array, "f d"]]:
    """One iteration of all classes.

    Args:
      views: the networks and the box.
      points: the frequencies.
      moving: images [k n h w c], and their moments.
      step: number of iterations done.
      factor: of the learning rate.
      batch: real images by class.
      key: decides augmentations and subsets, together with the label.

    Returns:
      Images and moments after the iteration, the logged values, and the gradient of the mean distance in `points` (0 if
      they are not learned).
    """
    config: NcfmConfig = views.config  # type: ignore[assignment]
    num_classes, rate = len(moving.images), config.image_rate() * factor
    labels = jnp.arange(num_classes, dtype=jnp.int32)
    steps = 1 if config.optimiser == "whole" else num_classes  # of the optimiser, in each view
    begun = step * steps * (1 + config.calibrations)

    def real(part: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        label, images, present = part
        features = unit(views.features(augmented(config, images, view_key(key, label, 0))))
        return features, present / present.sum()

    def one(part: tuple[Array, Moving, Any]) -> tuple[Moving, Report, Any]:
        label, moving, (features, weights) = part
        before, between, after = drifts(config, num_classes, label)
        inside, outside = clamped(config, moving.images)
        moving = coast(config, dataclasses.replace(moving, images=inside), before, begun, rate)
        done = begun + before

        def matching(images: Images, points: Array) -> Array:
            learned = unit(views.features(shown(config, views.box, images, view_key(key, label, 0))))
            even = jnp.full(len(learned), 1 / len(learned), learned.dtype)
            apart = distance(
                characteristic(features, weights, points),
                characteristic(learned, even, points),
                config.amplitude,
                config.phase,
            )
            return config.scale * apart

        wanted = (0, 1) if config.sampler == "learned" else (0,)
        value, (gradient, *pull) = jax.value_and_grad(matching, argnums=wanted)(moving.images, points)
        moving, done, total = descend(config, moving, gradient, done, rate), done + 1, jnp.zeros_like(value)
        for turn in range(config.calibrations):
            moving, done = coast(config, moving, between, done, rate), done + between
            loss, gradient = views.calibration(moving.images, label, view_key(key, label, 1 + turn))
            moving, done, total = descend(config, moving, gradient, done, rate), done + 1, total + loss
        moving = coast(config, moving, after, done, rate)
        return moving, Report(value, total / max(1, config.calibrations), outside), pull

    shape, parts = batch.images.shape[2:], (labels, batch.images, batch.present)
    reals = side_by_side(real, classes_at_once(config, batch.images.shape[1], shape), parts)
    chunk = classes_at_once(config, count_shown(config, shape), shape)
    moving, report, pull = side_by_side(one, chunk, (labels, moving, reals))
    return moving, report, pull[0].mean(axis=0) if pull else jnp.zeros_like(points)
