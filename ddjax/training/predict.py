"""Test-time passes over many images in bounded memory."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.types import Model, Params


def predict(model: Model, params: Params, images: Float[Array, "n h w c"], batch: int = 500) -> Float[Array, "n k"]:
    """Logits of all images, `batch` at a time."""
    whole = len(images) - len(images) % batch
    parts = []
    if whole:
        chunks = images[:whole].reshape(-1, batch, *images.shape[1:])
        logits = jax.lax.map(lambda chunk: model.apply(params, chunk), chunks)
        parts.append(logits.reshape(whole, -1))
    if whole < len(images):
        parts.append(model.apply(params, images[whole:]))
    return jnp.concatenate(parts)


@functools.partial(jax.jit, static_argnames="model")
def stacked_logits(model: Model, params: Params, images: Float[Array, "n h w c"]) -> Float[Array, "s n k"]:
    """Logits of all images from each of several networks; one program serves every call with the same model and shapes.

    Args:
      model: the networks' architecture.
      params: their parameters, leaves [s ...].
      images: what they are asked about.

    Returns:
      One row of logits for each network and image. The networks run one after the other, to bound memory.
    """
    return jax.lax.map(lambda one: predict(model, one, images), params)


def accuracy(logits: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, ""]:
    """Share of rows whose largest logit is at the label."""
    return jnp.mean((jnp.argmax(logits, axis=1) == labels).astype(jnp.float32))
