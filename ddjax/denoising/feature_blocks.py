"""Blocks of standardised features with their labels, from an array that may be memory-mapped."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax.denoising.predictor import FeatureSet
from ddjax.denoising.vectors import blocks

BLOCK = 2**26  # bytes of features in a block
CLIP = 10.0  # standard deviations; a table may have outliers


class Block(NamedTuple):
    """Some examples: standardised features, given labels, and the fold that each belongs to."""

    features: Float[Array, "r d"]
    labels: Int[Array, "r"]
    fold: Int[Array, "r"]


class Scale(NamedTuple):
    """Mean and standard deviation of each column; a constant column has the deviation 1."""

    mean: Float[np.ndarray, "d"]
    deviation: Float[np.ndarray, "d"]

    def __call__(self, rows: np.ndarray) -> Float[np.ndarray, "b d"]:
        """The rows in units of standard deviations."""
        return np.clip((rows.astype(np.float32) - self.mean) / self.deviation, -CLIP, CLIP)


def measured(features: np.ndarray) -> Scale:
    """The scale of the columns, from one pass over blocks."""
    total, squares = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    centre = np.asarray(features[0], np.float64)  # near the mean, so that the squares lose few digits
    for _, rows in blocks(features):
        moved = rows - centre
        total += moved.sum(axis=0)
        squares += (moved**2).sum(axis=0)
    mean = total / len(features)
    deviation = np.sqrt(np.maximum(squares / len(features) - mean**2, 0))
    small = 1e-6 * (np.abs(centre + mean) + np.finfo(np.float32).tiny)
    deviation = np.where(deviation > small, deviation, 1)
    return Scale((centre + mean).astype(np.float32), deviation.astype(np.float32))


def drawn(data: FeatureSet, fold: np.ndarray, least: int, scale: Scale, seed: int) -> Iterator[Block]:
    """Blocks of random examples without end. If one block holds all examples, it is always the same.

    Args:
      data: features with given labels.
      fold: of each example.
      least: the fewest examples in a block, if there are as many.
      scale: of the features.
      seed: of the order.
    """
    count = min(len(fold), max(least, BLOCK // (4 * data.features.shape[1])))
    order, at = np.random.default_rng(seed).permutation(len(fold)), 0
    while True:
        rows = np.sort(np.take(order, np.arange(at, at + count), mode="wrap"))  # in order, for the disk
        block = block_of(data, fold, scale, rows)
        if count == len(fold):
            while True:
                yield block
        yield block
        at += count


def block_of(data: FeatureSet, fold: np.ndarray, scale: Scale, rows: Any) -> Block:
    """The examples `rows`, standardised, on the device."""
    return Block(
        jnp.asarray(scale(np.asarray(data.features[rows]))),
        jnp.asarray(data.labels[rows], jnp.int32),
        jnp.asarray(fold[rows], jnp.int32),
    )
