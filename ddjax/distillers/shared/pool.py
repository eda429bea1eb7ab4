"""A pool of networks of different ages, each trained a few steps per visit (FRePo, RCIG).

The members are stacked on the device: a draw is an index, and nothing leaves a compiled step.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from ddjax.models import merge_stats, split_stats
from ddjax.training.losses import squared_error
from ddjax.trees import Stacked, record
from ddjax.types import Images, Model, Params, PRNGKey


@record()
class Member:
    """A network in training; in a pool each leaf has a leading axis of members."""

    params: Params
    opt_state: Any
    age: Any  # int32 [], optimiser steps since it was initialised


def fresh(key: PRNGKey, model: Model, optimiser: optax.GradientTransformation) -> Member:
    """An untrained network."""
    params = model.init(key)
    return Member(params=params, opt_state=optimiser.init(split_stats(params)[0]), age=jnp.int32(0))


def fill(key: PRNGKey, model: Model, optimiser: optax.GradientTransformation, size: int) -> Stacked:
    """`size` untrained networks, each initialised from its own key."""
    return Stacked.of(jax.vmap(lambda k: fresh(k, model, optimiser))(jax.random.split(key, size)))


def train(
    member: Member,
    model: Model,
    optimiser: optax.GradientTransformation,
    images: Images,
    targets: Float[Array, "n k"],
    steps: Int[Array, ""] | int,
    key: PRNGKey,
    rows: int = 0,
) -> Member:
    """Train all layers on half the mean squared error over rows and classes.

    Args:
      member: the network.
      model: its functions.
      optimiser: of the network.
      images: training images.
      targets: their regression targets.
      steps: number of updates; may be traced.
      key: decides the minibatches.
      rows: images per update, drawn anew in each; 0 takes all.

    Returns:
      The network after the updates, with its age raised by `steps`.
    """
    full_batch = not rows or rows >= len(images)

    def update(i: ArrayLike, member: Member) -> Member:
        trainable, stats = split_stats(member.params)
        x, y = images, targets
        if not full_batch:
            chosen = jax.random.choice(jax.random.fold_in(key, i), len(images), (rows,), replace=False)
            x, y = images[chosen], targets[chosen]

        def objective(trainable: Params) -> tuple[Array, Params]:
            logits, updated = model.train(merge_stats(trainable, stats), x, jnp.ones(len(x), x.dtype))
            return jnp.mean(squared_error(logits, y)), split_stats(updated)[1]

        gradient, stats = jax.grad(objective, has_aux=True)(trainable)
        updates, opt_state = optimiser.update(gradient, member.opt_state, trainable)
        params = merge_stats(optax.apply_updates(trainable, updates), stats)
        # with jax_enable_x64 an update may widen an array, which no loop accepts
        return optax.tree.cast_like(Member(params=params, opt_state=opt_state, age=member.age + 1), member)

    return jax.lax.fori_loop(0, steps, update, member)


def renew(member: Member, oldest: int, new: Member) -> Member:
    """`new` if the member has taken `oldest` steps, else the member; computing both costs less than a branch."""
    return optax.tree.where(member.age >= oldest, new, member)
