"""DATM's inner problem: a student trained on the learned set from an expert's weights, and the loss at its end."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ddjax.augment import AUGMENTATIONS
from ddjax.backend import target
from ddjax.bilevel.unrolled_descent import HYPERGRADIENTS, Student, Unrolled
from ddjax.distillers.datm import memory
from ddjax.distillers.datm.config import DatmConfig
from ddjax.distillers.datm.feed import Segments
from ddjax.distillers.datm.schedule import batches
from ddjax.experts.identity import unraveller
from ddjax.training import LOSSES, over_members
from ddjax.trees import record
from ddjax.types import Model, PRNGKey


@record()
class Learned:
    """The learned quantities."""

    images: Any  # [m h w c], never clipped
    labels: Any  # [m k], logits; one-hot rows where they are not learned
    rate: Any  # [], the student's step size, or its inverse softplus


def step_size(config: DatmConfig, rate: Float[Array, ""]) -> Float[Array, ""]:
    """The student's step size."""
    return jax.nn.softplus(rate) if config.positive_step_size else rate


def student(config: DatmConfig, model: Model, pieces: int) -> Student:
    """The student's training as an inner problem.

    Each inner step draws one augmentation, with separate parameters for each image; the loss is the mean cross-entropy.
    """
    augment, cross_entropy = AUGMENTATIONS[config.augmentation()](), LOSSES["cross_entropy"]

    def batch(learned: tuple[Array, Array], item: tuple[Any, Any]) -> tuple[Array, Array]:
        rows, drawn = item
        taken = learned if rows is None else tuple(x.at[rows].get(unique_indices=True) for x in learned)
        seen = augment.apply(drawn, taken[0]), taken[1]
        return jax.tree.map(lambda x: x.reshape(pieces, len(x) // pieces, *x.shape[1:]), seen)

    def loss(params: Any, piece: tuple[Array, Array]) -> Array:
        images, labels = piece
        targets = jax.nn.softmax(labels) if config.learn_labels else labels
        return jnp.mean(cross_entropy(model.apply(params, images), targets))

    return Student(batch, loss)


def squared_distance(a: Any, b: Any) -> Float[Array, ""]:
    """The squared Euclidean distance over all leaves."""
    return optax.tree.norm(optax.tree.sub(a, b), squared=True)


def way(config: DatmConfig, model: Model, image_shape: tuple[int, ...], m: int, k: int) -> memory.Way:
    """How to compute a step: as configured, or with less memory if that does not fit into `config.memory`."""
    b = config.batch(m)
    held = config.segments if target() != "cpu" else 1  # a CPU computes them one after the other
    shapes = memory.shapes_of(model, image_shape, m, k, config.inner_steps, b, held, target())
    asked = memory.Way(config.hypergradient, config.remat, b // min(config.micro_batch or b, b))
    return memory.fitted(shapes, asked, config.memory)


def match(config: DatmConfig, model: Model, learned: Learned, key: PRNGKey, batch: Segments) -> Unrolled:
    """The matching loss and its gradients for each segment.

    The loss is the squared distance between the ends of student and expert, divided by that between the student's start
    and the expert's end.

    Returns:
      Values and gradients with a leading axis of segments; `end` is empty.
    """
    m, k = learned.labels.shape
    b = config.batch(m)
    chosen = way(config, model, learned.images.shape[1:], m, k)
    inner, unravel = student(config, model, chosen.pieces), unraveller(model)
    hypergradient = HYPERGRADIENTS[chosen.hypergradient](chosen.remat)
    draw, size = AUGMENTATIONS[config.augmentation()]().draw, learned.images.shape[1:3]
    rate, back = jax.vjp(lambda raw: step_size(config, raw), learned.rate)

    def one(segment: tuple[Array, Array, Any, Any], learned: tuple[Array, Array], rate: Array, ops: Array) -> Unrolled:
        start, target, rows, drawn = segment
        theta, goal = unravel(start), unravel(target)
        scale = squared_distance(theta, goal)
        items = rows, {**drawn, "choice": ops}
        unrolled = hypergradient(inner, lambda end: squared_distance(end, goal) / scale, theta, learned, rate, items)
        return unrolled._replace(end=())

    plan_key, augment_key = jax.random.split(key)
    keys = jax.random.split(augment_key, (config.segments, config.inner_steps))
    op_keys = jax.random.split(batch.op_key, config.inner_steps)
    draw_steps = jax.vmap(lambda own, op: draw(own, b, size, op))
    drawn = jax.vmap(draw_steps, (0, None))(keys, op_keys)
    ops = drawn.pop("choice")[0]  # shared by all segments, so that a vmap over them runs one operation only
    rows = None
    if b < m:
        plan_keys = jax.random.split(plan_key, config.segments)
        rows = jax.vmap(lambda key: batches(key, m, b, config.inner_steps))(plan_keys)
    how = "map" if config.segments == 1 else "auto"
    segments = batch.starts, batch.targets, rows, drawn
    unrolled = over_members(one, how)(segments, (learned.images, learned.labels), rate, ops)
    in_raw = jax.vmap(lambda g: back(g)[0])(unrolled.rate)
    images, labels = unrolled.learned
    return unrolled._replace(learned=Learned(images=images, labels=labels, rate=in_raw), rate=in_raw)


def mean_of_accepted(gradients: Learned, accepted: Array) -> Learned:
    """The mean over the accepted segments; zeros if there are none."""
    count = jnp.maximum(accepted.sum(), 1)

    def mean(g: Array) -> Array:
        return jnp.where(accepted.reshape(-1, *[1] * (g.ndim - 1)), g, 0).sum(0) / count

    return jax.tree.map(mean, gradients)
