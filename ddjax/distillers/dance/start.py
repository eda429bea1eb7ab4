"""The value range of DANCE's images, and their start.

Images are learned on the scale 0..1, where 0 and 1 are the lowest and the highest value of each channel over the
training images. For 8-bit sets that contain black and white pixels this is the pixel scale. Networks see images in
the space of the training set.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax.distilled import decode
from ddjax.distillers.dance.config import DanceConfig
from ddjax.distillers.shared.start import check_class_sizes, uniform_by_id
from ddjax.rows import blocks
from ddjax.trees import record
from ddjax.types import PRNGKey, TrainSet


@record()
class Box:
    """The values of each channel that 0 and 1 stand for."""

    low: Any  # [c]
    high: Any  # [c]


def box_of(images: Any) -> Box:
    """The lowest and the highest value of each channel."""
    lows, highs = zip(*(_ends(part) for part in blocks(images)), strict=True)
    low, high = functools.reduce(jnp.minimum, lows), functools.reduce(jnp.maximum, highs)
    return Box(low=low, high=jnp.where(high > low, high, low + 1))


@jax.jit
def _ends(images: Float[Array, "n h w c"]) -> tuple[Float[Array, "c"], Float[Array, "c"]]:
    return images.min((0, 1, 2)), images.max((0, 1, 2))


def no_box(images: Any) -> Box:
    """The identity: images are learned in the space of the training images."""
    channels = images.shape[3:]
    return Box(low=jnp.zeros(channels, images.dtype), high=jnp.ones(channels, images.dtype))


def from_unit(box: Box, images: Float[Array, "m h w c"]) -> Float[Array, "m h w c"]:
    """Map 0..1 to the space of the training images."""
    return images * (box.high - box.low)[None, None, None] + box.low[None, None, None]


def to_unit(box: Box, images: Float[Array, "m h w c"]) -> Float[Array, "m h w c"]:
    """Map the space of the training images to 0..1."""
    return (images - box.low[None, None, None]) / (box.high - box.low)[None, None, None]


def class_rows(key: PRNGKey, train: TrainSet, count: int, order: str = "drawn") -> Int[np.ndarray, "k count"]:
    """`count` rows of each given class.

    Args:
      key: decides the draw, together with the ids of the examples: the order of the set does not matter.
      train: the training set.
      count: rows per class. A class with fewer rows gives all of them and repeats some at random.
      order: "drawn" (at random, without replacement) or "first".

    Raises:
      ValueError: a class has no images.
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
    """Mosaics of factor x factor downsampled images: the inverse of `decode.cells`.

    Args:
      images: factor^2 images per mosaic, sorted by cell: first the first cell of every mosaic, and so on.
      factor: cells per side.

    Returns:
      The mosaics. Downsampling keeps every `factor`-th pixel, starting with the first. If `factor` does not divide a
      side, the last cells are cropped at the border of the image.
    """
    cells, (h, w) = factor**2, images.shape[1:3]
    size = [-(-side // factor) for side in (h, w)]
    at_rows, at_columns = (np.arange(s) * side // s for s, side in zip(size, (h, w), strict=True))
    small = images[:, at_rows][:, :, at_columns].reshape(factor, factor, len(images) // cells, *size, -1)
    mosaics = small.transpose(2, 0, 3, 1, 4, 5).reshape(-1, factor * size[0], factor * size[1], images.shape[3])
    return mosaics[:, :h, :w]


def start_images(config: DanceConfig, key: PRNGKey, train: TrainSet, box: Box) -> Float[Array, "k n h w c"]:
    """The first images of each class, in the coordinates of the box.

    Raises:
      ValueError: a class has no images, or fewer than `config.ipc` and does not start from noise.
    """
    shape = (train.num_classes, config.ipc, *train.images.shape[1:])
    # also for noise: each class needs real images to match
    check_class_sizes(train.labels, train.num_classes, 1 if config.start == "noise" else config.ipc)
    if config.start == "noise":
        noise = jax.random.normal(key, shape, train.images.dtype)
        return jnp.clip(noise / 4 + 0.5, 0, 1) if config.unit_box else noise
    factor = config.factor_for(train.images.shape[1:]) if config.start == "mix" else 1
    rows = class_rows(key, train, config.ipc * factor**2, config.start_order)
    real = to_unit(box, train.images[rows.ravel()]).reshape(train.num_classes, -1, *shape[2:])
    return jax.vmap(lambda images: mosaic(images, factor))(real)


def decoded(key: PRNGKey, images: Float[Array, "n h w c"], factor: int, formation: str, cap: int) -> Array:
    """The training images encoded in one class's images, or a random subset of `cap` of them."""
    out = decode.decode(images, factor, formation, cap)
    if len(out) <= cap:
        return out
    return out[jax.random.choice(key, len(out), (cap,), replace=False)]
