"""Where DANCE's images live, and what they start from.

They are learned between 0 and 1: the lowest and the highest value of each channel over the training images, which
is the pixel scale for every 8-bit set that has a black and a white. What a network sees is in the training set's
own space.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax.distilled import decode
from ddjax.distillers.dance.config import DanceConfig
from ddjax.distillers.shared.start import check_class_sizes, uniform_by_id
from ddjax.trees import record
from ddjax.types import PRNGKey, TrainSet


@record()
class Box:
    """The values of each channel that 0 and 1 stand for."""

    low: Any  # [c]
    high: Any  # [c]


def box_of(images: Float[Array, "n h w c"]) -> Box:
    """Lowest and highest value of each channel."""
    low, high = images.min((0, 1, 2)), images.max((0, 1, 2))
    return Box(low=low, high=jnp.where(high > low, high, low + 1))


def no_box(images: Float[Array, "n h w c"]) -> Box:
    """The space of the images as it is."""
    channels = images.shape[3:]
    return Box(low=jnp.zeros(channels, images.dtype), high=jnp.ones(channels, images.dtype))


def from_unit(box: Box, images: Float[Array, "m h w c"]) -> Float[Array, "m h w c"]:
    """0..1 into the space of the training images."""
    return images * (box.high - box.low)[None, None, None] + box.low[None, None, None]


def to_unit(box: Box, images: Float[Array, "m h w c"]) -> Float[Array, "m h w c"]:
    """The space of the training images into 0..1."""
    return (images - box.low[None, None, None]) / (box.high - box.low)[None, None, None]


def class_rows(key: PRNGKey, train: TrainSet, count: int, order: str = "drawn") -> Int[np.ndarray, "k count"]:
    """`count` rows of each given class: drawn without replacement, or the first ones.

    A class with fewer gives all it has and repeats some at random. A row's chance to be drawn depends on its id
    alone, so the order of the set does not matter.
    """
    labels, ids = np.asarray(train.labels), np.asarray(train.ids)
    counts = check_class_sizes(labels, train.num_classes, 1)
    score = np.asarray(uniform_by_id(key, ids)) if order == "drawn" else np.arange(len(labels))
    by_class = np.split(np.lexsort((score, labels)), np.cumsum(counts)[:-1])
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))

    def padded(rows: np.ndarray) -> np.ndarray:
        missing = max(0, count - len(rows))
        return np.concatenate([rows[:count], rng.choice(rows, missing)])

    return np.stack([padded(rows) for rows in by_class])


def mosaic(images: Float[Array, "mff h w c"], factor: int) -> Float[Array, "m h w c"]:
    """factor^2 * m images, cell-major, shrunk to the cells of m images: the inverse order of `decode.cells`.

    Shrinking takes every so manieth pixel, from the first on. Where `factor` does not divide a side, the last cells
    are cut off where the image ends.
    """
    cells, (h, w) = factor**2, images.shape[1:3]
    size = [-(-side // factor) for side in (h, w)]
    at_rows, at_columns = (np.arange(s) * side // s for s, side in zip(size, (h, w), strict=True))
    small = images[:, at_rows][:, :, at_columns].reshape(factor, factor, len(images) // cells, *size, -1)
    whole = small.transpose(2, 0, 3, 1, 4, 5).reshape(-1, factor * size[0], factor * size[1], images.shape[3])
    return whole[:, :h, :w]


def start_images(config: DanceConfig, key: PRNGKey, train: TrainSet, box: Box) -> Float[Array, "k n h w c"]:
    """The first images of each class, in the box's coordinates."""
    shape = (train.num_classes, config.ipc, *train.images.shape[1:])
    if config.start == "noise":
        noise = jax.random.normal(key, shape, train.images.dtype)
        return jnp.clip(noise / 4 + 0.5, 0, 1) if config.unit_box else noise
    check_class_sizes(train.labels, train.num_classes, config.ipc)
    factor = config.factor_for(train.images.shape[1:]) if config.start == "mix" else 1
    rows = class_rows(key, train, config.ipc * factor**2, config.start_order)
    real = to_unit(box, train.images[rows.ravel()]).reshape(train.num_classes, -1, *shape[2:])
    return jax.vmap(lambda images: mosaic(images, factor))(real)


def decoded(key: PRNGKey, images: Float[Array, "n h w c"], factor: int, formation: str, cap: int) -> Array:
    """The training images coded in one class's images, or a random subset of `cap` of them."""
    out = decode.decode(images, factor, formation, cap)
    if len(out) <= cap:
        return out
    return out[jax.random.choice(key, len(out), (cap,), replace=False)]
