"""Passes of a rule's networks: over a batch in training, and over all training images in test mode."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax.augment import AUGMENTATIONS
from ddjax.names import choose
from ddjax.training.rule import Batch, Outputs, Rule, Stats, Tables
from ddjax.types import Model, Params, PRNGKey

_CHUNK = 500  # images in one pass over the training set


def initial(model: Model, nets: int, adjust: Callable[[Params], Params] | None, key: PRNGKey) -> Params:
    """New networks of a rule, stacked if there are several."""
    params = model.init(key) if nets == 1 else jax.vmap(model.init)(jax.random.split(key, nets))
    return params if adjust is None else adjust(params)


@functools.lru_cache(maxsize=32)
def initialiser(
    model: Model, nets: int, adjust: Callable[[Params], Params] | None, compiling: tuple[tuple[str, float], ...]
) -> Callable[[PRNGKey], Params]:
    """`initial` as one program for all trainings of a model: it takes as long to compile as an epoch."""
    return jax.jit(lambda key: initial(model, nets, adjust, key), compiler_options=dict(compiling))


def forward(
    model: Model, rule: Rule, params: Params, batch: Batch, tables: Tables, key: PRNGKey
) -> tuple[Outputs, Params]:
    """Training pass of all networks over all views, which share one batch's running statistics.

    Returns:
      The outputs, and the parameters with updated running statistics.

    Raises:
      ValueError: the network has another number of outputs than there are classes.
    """
    views, b = batch.images.shape[:2]
    images = batch.images.reshape(views * b, *batch.images.shape[2:])
    present = jnp.tile(batch.present, views)

    def one(params: Params, net: Array) -> tuple[Outputs, Params]:
        used = params
        if rule.mask is not None:
            used = rule.mask(jax.random.fold_in(key, net), params, tables, net)
        if rule.frozen:
            logits, updated = model.apply(used, images), params
        else:
            logits, updated = model.train(used, images, present)
        if (outputs := logits.shape[-1]) != (classes := batch.targets.shape[-1]):
            raise ValueError(
                f"the network has {outputs} outputs and examples.targets {classes} classes: build the network with "
                f"num_classes={classes}, or make targets of {outputs} classes"
            )
        features = model.features(used, images).reshape(views, b, -1) if rule.features else None
        return Outputs(logits.reshape(views, b, -1), features), updated

    if rule.nets == 1:
        outputs, updated = one(params, jnp.int32(0))
        return jax.tree.map(lambda leaf: leaf[None], outputs), updated
    return jax.vmap(one)(params, jnp.arange(rule.nets))


def chunks_of(n: int) -> Int[np.ndarray, "chunks size"]:
    """The rows of each pass over n training images; the last pass repeats rows to be full."""
    size = min(_CHUNK, n)
    return np.arange(-(-n // size) * size).reshape(-1, size) % n


def outputs_of(
    model: Model, rule: Rule, augment: str, params: Params, images: Array, first: Array, key: PRNGKey, views: int
) -> tuple[Array, Any, Any]:
    """Test-mode logits, features and logits of augmented views of a pass whose first row is `first`."""
    augmentation, own_key = choose(AUGMENTATIONS, augment, "augmentation")(), jax.random.fold_in(key, first)
    stacked = jax.tree.map(lambda leaf: leaf[None], params) if rule.nets == 1 else params

    def apply(part: Array) -> Array:
        return jax.lax.map(lambda one: model.apply(one, part), stacked)

    features = jax.lax.map(lambda one: model.features(one, images), stacked) if rule.features else None
    logits = [apply(augmentation(jax.random.fold_in(own_key, view), images)) for view in range(views)]
    return apply(images), features, jnp.stack(logits) if logits else None


def joined(parts: tuple[Array, Any, Any], targets: Float[Array, "n k"]) -> Stats:
    """The statistics from the outputs of all passes, stacked along a leading axis."""
    n = len(targets)

    def in_a_row(parts: Array) -> Array:  # [chunks, ..., size, x] -> [..., n, x]
        parts = jnp.moveaxis(parts, 0, -3)
        return parts.reshape(*parts.shape[:-3], -1, parts.shape[-1])[..., :n, :]

    return Stats(*jax.tree.map(in_a_row, parts), jnp.argmax(targets, axis=1))


def statistics(
    model: Model, rule: Rule, augment: str, params: Params, images: Any, targets: Array, key: PRNGKey, views: int = 0
) -> Stats:
    """Test-mode outputs of all networks for all images, `_CHUNK` images at a time.

    Args:
      model: the architecture of each network.
      rule: the training rule; it says whether features are needed.
      augment: name of the augmentation of the views.
      params: of one network, or stacked for several.
      images: [n h w c], an array or a `rows.Images`.
      targets: [n k], one-hot rows of the given labels.
      key: for the augmentation.
      views: number of augmented views.
    """

    def chunk(rows: Array) -> Any:
        return outputs_of(model, rule, augment, params, images[rows], rows[0], key, views)

    return joined(jax.lax.map(chunk, jnp.asarray(chunks_of(len(images)))), targets)


@functools.lru_cache(maxsize=32)  # equal models give the same record, so compiled programs are found again
def mean_logits(model: Model) -> Model:
    """The model of several networks (leaves of the params are [nets ...]) whose logits are the mean of theirs."""

    def apply(params: Params, images: Array) -> Array:
        return jnp.mean(jax.vmap(lambda one: model.apply(one, images))(params), axis=0)

    return model._replace(apply=apply)
