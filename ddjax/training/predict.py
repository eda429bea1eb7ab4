"""Predictions for many images in bounded memory."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax import trees
from ddjax.types import Model, Params


def predict(model: Model, params: Params, images: Float[Array, "n h w c"], batch: int = 500) -> Float[Array, "n k"]:
    """Logits of all images, `batch` at a time.

    Args:
      model: the architecture.
      params: of one network.
      images: preprocessed images.
      batch: number of images in one pass.

    Returns:
      The logits.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ddjax.models import build
      >>> from ddjax.training import predict
      >>> model = build("mlp", (2, 2, 1), 3, depth=1, width=4)
      >>> predict(model, model.init(jax.random.key(0)), jnp.ones((5, 2, 2, 1)), batch=2).shape
      (5, 3)
    """
    full = len(images) - len(images) % batch
    parts = []
    if full:
        chunks = images[:full].reshape(-1, batch, *images.shape[1:])
        logits = jax.lax.map(lambda chunk: model.apply(params, chunk), chunks)
        parts.append(logits.reshape(full, -1))
    if full < len(images):
        parts.append(model.apply(params, images[full:]))
    return jnp.concatenate(parts)


def each_member(params: Params) -> list[Params]:
    """The members of stacked parameters, leaves [s ...], by one program for all leaves."""
    return [_taken(params, i) for i in range(len(jax.tree.leaves(params)[0]))]


_taken = jax.jit(trees.take)


@functools.partial(jax.jit, static_argnames="model")
def _logits(model: Model, params: Params, images: Float[Array, "n h w c"]) -> Float[Array, "n k"]:
    return predict(model, params, images)


def stacked_logits(model: Model, params: Params, images: Float[Array, "n h w c"]) -> Float[Array, "s n k"]:
    """Logits of all images from each of several networks.

    Calls with the same model and shapes share one compiled program, for any number of networks. The networks run in
    sequence, to bound memory.

    Args:
      model: the architecture of the networks.
      params: their parameters, leaves [s ...].
      images: preprocessed images.

    Returns:
      A row of logits for each network and image.
    """
    return jnp.stack([_logits(model, own, images) for own in each_member(params)])


def accuracy(logits: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, ""]:
    """Share of rows whose largest logit is that of the label."""
    return jnp.mean((jnp.argmax(logits, axis=1) == labels).astype(jnp.float32))
