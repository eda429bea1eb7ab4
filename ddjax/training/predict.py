"""Predictions for many images in bounded memory."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax import trees
from ddjax.rows import HostRows, Images, blocks
from ddjax.types import Metrics, Model, Params

BATCH = 500  # images in one pass


def predict(model: Model, params: Params, images: Any, batch: int = BATCH) -> Float[Array, "n k"]:
    """Logits of all images, `batch` at a time.

    Args:
      model: the architecture.
      params: of one network.
      images: preprocessed images, an array or a `rows.Images`.
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
    if isinstance(images, HostRows):
        return jnp.asarray(by_blocks(functools.partial(predict, model, params, batch=batch), images))
    full = len(images) - len(images) % batch
    parts = []
    if full:
        if isinstance(images, Images):
            rows = jnp.arange(full).reshape(-1, batch)
            logits = jax.lax.map(lambda chunk: model.apply(params, images[chunk]), rows)
        else:
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
def _logits(model: Model, params: Params, images: Any) -> Float[Array, "n k"]:
    return predict(model, params, images)


def by_blocks(function: Callable[..., Any], images: Any) -> Any:
    """`function` of all images; if they are on the host, of one block after the other, and NumPy arrays.

    Args:
      function: of images, which it takes `BATCH` at a time.
      images: preprocessed, an array or a `rows.Images`.

    Returns:
      The result, the same in both cases.
    """
    if not isinstance(images, HostRows):
        return function(images)
    parts = [jax.device_get(function(block)) for block in blocks(images, 8 * BATCH)]
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def stacked_logits(model: Model, params: Params, images: Any) -> Float[Array, "s n k"] | Float[np.ndarray, "s n k"]:
    """Logits of all images from each of several networks.

    Calls with the same model and shapes share one compiled program, for any number of networks. The networks run in
    sequence, to bound memory.

    Args:
      model: the architecture of the networks.
      params: their parameters, leaves [s ...].
      images: preprocessed images, an array or a `rows.Images`.

    Returns:
      A row of logits for each network and image, as a NumPy array if the images are on the host.
    """
    each = [by_blocks(functools.partial(_logits, model, own), images) for own in each_member(params)]
    return np.stack(each) if isinstance(images, HostRows) else jnp.stack(each)


def accuracies(model: Model, params: Params, watch: dict[str, tuple[Any, dict[str, Any]]]) -> Metrics:
    """The accuracy of one network for each vector of labels of each watched set of images."""
    out = {}
    for images, labels in watch.values():
        logits = predict(model, params, images)
        out |= {name: accuracy(logits, truth) for name, truth in labels.items()}
    return out


def accuracy(logits: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, ""]:
    """Share of rows whose largest logit is that of the label."""
    return jnp.mean((jnp.argmax(logits, axis=1) == labels).astype(jnp.float32))
