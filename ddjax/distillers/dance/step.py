"""One DANCE iteration of one class; classes share the networks and nothing else.

Published code takes a step of momentum SGD on the tensor of all classes after the gradient of each class. In these
steps a class without a gradient of its own moves along its decaying velocity. `drift` computes several such steps in
closed form, so that each class can be updated independently and all classes in parallel.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ddjax.backend import target
from ddjax.distilled import decode
from ddjax.distillers.dance.config import DanceConfig
from ddjax.distillers.dance.start import Box, decoded, from_unit
from ddjax.models.convolution.conv import product
from ddjax.trees import record
from ddjax.types import Images, Model, Params, PRNGKey

CACHED_PIXELS = 2**13  # pixels of the images whose maps fit into a processor's cache: 8 images of 32 x 32
PARALLEL_PIXELS = 2**21  # pixels of the images that keep an accelerator busy
_AUGMENT, _SUBSET = range(2)  # the streams of a view's key


@record()
class Moving:
    """Images of one class, or of all with a leading axis, and their velocity."""

    images: Any  # [n h w c]
    velocity: Any


class Report(NamedTuple):
    """Logged values of a class."""

    inner: Float[Array, ""]
    calibration: Float[Array, ""]  # mean over passes, zero without any
    outside: Float[Array, ""]  # the largest distance of a pixel from 0..1


def drift(moving: Moving, steps: Int[Array, ""], rate: float, momentum: float) -> Moving:
    """`steps` steps of momentum SGD with zero gradients."""
    left = momentum ** steps.astype(moving.images.dtype)
    path = rate * momentum * (1 - left) / (1 - momentum)
    return Moving(images=moving.images - path * moving.velocity, velocity=left * moving.velocity)


def descend(moving: Moving, gradient: Array, rate: float, momentum: float) -> Moving:
    """One step of momentum SGD as in PyTorch."""
    velocity = momentum * moving.velocity + gradient
    return Moving(images=moving.images - rate * velocity, velocity=velocity)


def drifts(config: DanceConfig, num_classes: int, label: Int[Array, ""]) -> tuple[Array, Array, Array]:
    """The number of steps of other classes before a class's first gradient, between two of its gradients, and after."""
    if config.optimiser == "whole":
        return jnp.zeros_like(label), jnp.zeros_like(label), jnp.zeros_like(label)
    between = jnp.full_like(label, num_classes - 1)
    return label, between, between - label


def shown(config: DanceConfig, box: Box, images: Images, key: PRNGKey) -> Float[Array, "m h w c"]:
    """One class's images as a network sees them: decoded, in the space of the real images, augmented."""
    factor = config.factor_for(images.shape[1:])
    real = from_unit(box, images)  # before decoding, as for students: padding has the same value
    plain = decoded(jax.random.fold_in(key, _SUBSET), real, factor, config.formation, config.cap)
    return augmented(config, plain, key)


def augmented(config: DanceConfig, images: Images, key: PRNGKey) -> Images:
    """The images under one row of augmentation parameters, which is a function of the key and not of their number."""
    augment, (_, h, w, _) = config.augmentation(), images.shape
    return augment.apply(augment.draw(jax.random.fold_in(key, _AUGMENT), 1, (h, w)), images)


class Views(NamedTuple):
    """The losses of one class's images as functions of the images. Networks are constants; images pass in small blocks.

    Small blocks fit into a processor's cache. Computing classes one after the other frees what each gradient stores.
    """

    config: DanceConfig
    model: Model
    box: Box
    encoder: Params
    judge: Params

    def features(self, images: Images) -> Float[Array, "b d"]:
        """Features of the encoder."""

        def one(image: Array) -> Array:
            return self.model.features(self.encoder, image[None])[0]

        return side_by_side(one, self.config.block or at_once(images[0].size // images.shape[3]), images)

    def real(self, images: Images, present: Float[Array, "b"], key: PRNGKey) -> Float[Array, "d"]:
        """Mean feature of the real images that are present. It needs no gradient."""
        features = self.features(augmented(self.config, images, key))
        return product(present.astype(features.dtype), features) / present.sum().astype(features.dtype)

    def inner(self, images: Images, target: Float[Array, "d"], key: PRNGKey) -> Float[Array, ""]:
        """Squared distance between the mean feature and that of a real batch under the same augmentation."""
        features = self.features(shown(self.config, self.box, images, key))
        return jnp.sum((features.mean(0) - target) ** 2)

    def calibration(self, images: Images, label: Int[Array, ""], key: PRNGKey) -> tuple[Float[Array, ""], Images]:
        """Mean cross-entropy of the trained network, and its gradient in the images."""

        def one(image: Array) -> Array:
            logits = self.model.apply(self.judge, image[None])[0]
            return optax.softmax_cross_entropy_with_integer_labels(logits, label)

        seen, back = jax.vjp(lambda x: shown(self.config, self.box, x, key), images)
        block = self.config.block or at_once(seen[0].size // seen.shape[3])
        losses, gradients = side_by_side(jax.value_and_grad(one), block, seen)
        return losses.mean(), back(gradients / len(seen))[0]


def view_key(key: PRNGKey, label: Int[Array, ""], view: int) -> PRNGKey:
    """The key of a view of a class in an iteration. View 0 is matched, and the others are passes of calibration."""
    return jax.random.fold_in(jax.random.fold_in(key, label), view)


def clamped(config: DanceConfig, images: Images) -> tuple[Images, Float[Array, ""]]:
    """The images, clamped to 0..1 if they are learned there, and the largest change of a pixel."""
    inside = jnp.clip(images, 0, 1) if config.unit_box else images
    return inside, jnp.abs(images - inside).max()


def at_once(pixels: int) -> int:
    """The number of images, or classes, of this many pixels that are computed together on this device."""
    return max(1, (CACHED_PIXELS if target() == "cpu" else PARALLEL_PIXELS) // pixels)


def classes_at_once(config: DanceConfig, count: int, image_shape: tuple[int, ...]) -> int:
    """The number of classes, with `count` images [h w c] each, that are computed together."""
    return config.class_chunk or at_once(count * image_shape[0] * image_shape[1])


def count_shown(config: DanceConfig, image_shape: tuple[int, ...]) -> int:
    """The number of images in which a network sees one class; see `shown`."""
    factor = config.factor_for(image_shape)
    return min(config.cap, len(decode.sources(config.ipc, factor, config.formation, config.cap)))


def side_by_side(function: Callable[[Any], Any], chunk: int, parts: Any) -> Any:
    """Apply `function` to each part, `chunk` parts at a time."""
    count = len(jax.tree.leaves(parts)[0])
    if chunk >= count:
        return jax.vmap(function)(parts)
    return jax.lax.map(function, parts, batch_size=chunk if chunk > 1 else None)


def advance(
    views: Views,
    num_classes: int,
    labels: Int[Array, "j"],
    moving: Moving,
    images: Float[Array, "j b h w c"],
    present: Float[Array, "j b"],
    key: PRNGKey,
) -> tuple[Moving, Report]:
    """One iteration of a group of classes. The result of a class does not depend on the grouping.

    A `shard_map` over the leading axes of labels, moving, images and present therefore needs no communication.

    Args:
      views: the losses.
      num_classes: number of all classes.
      labels: the classes of the group.
      moving: their images and velocities.
      images: their real images.
      present: 1 for real images, 0 for padding.
      key: decides augmentations and subsets, together with the label.

    Returns:
      Images and velocities after the iteration, and the logged values.
    """
    config = views.config
    rate, momentum = config.image_rate(), config.momentum

    def real(part: tuple[Array, Array, Array]) -> Array:
        label, images, present = part
        return views.real(images, present, view_key(key, label, 0))

    def one(part: tuple[Array, Moving, Array]) -> tuple[Moving, Report]:
        label, moving, target = part
        before, between, after = drifts(config, num_classes, label)
        inside, outside = clamped(config, moving.images)
        moving = drift(dataclasses.replace(moving, images=inside), before, rate, momentum)
        inner, gradient = jax.value_and_grad(views.inner)(moving.images, target, view_key(key, label, 0))
        moving = descend(moving, gradient, rate, momentum)
        total = jnp.zeros_like(inner)
        for turn in range(config.calibrations):
            moving = drift(moving, between, rate, momentum)
            loss, gradient = views.calibration(moving.images, label, view_key(key, label, 1 + turn))
            moving, total = descend(moving, gradient, rate, momentum), total + loss
        moving = drift(moving, after, rate, momentum)
        return moving, Report(inner, total / max(1, config.calibrations), outside)

    shape = images.shape[2:]
    targets = side_by_side(real, classes_at_once(config, images.shape[1], shape), (labels, images, present))
    return side_by_side(one, classes_at_once(config, count_shown(config, shape), shape), (labels, moving, targets))
