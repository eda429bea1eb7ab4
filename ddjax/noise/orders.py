"""The order in which TFDS writes and reads a split, computed without TFDS.

TFDS writes examples sorted by the 128-bit MD5 of split name + key. The keys of CIFAR are 0, 1, 2, ...
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Int, Int32

from ddjax.noise.corrupt import corrupt
from ddjax.noise.labels import as_ids
from ddjax.ranges import Seed, checked

# Pairs of identical CIFAR-100 images that the publishers of CIFAR-100N, who matched by pixels, exchanged.
CIFAR100_TWINS = (
    *((4348, 30931), (8599, 22657), (9012, 31128), (17688, 41874)),
    *((18461, 46752), (20635, 32666), (30418, 47806)),
)


def md5_order(keys: Iterable[str | int], split: str = "train") -> Int[np.ndarray, "n"]:
    """The order in which TFDS writes `keys`: entry j is the position of the key that is written j-th."""
    digests = [hashlib.md5(f"{split}{key}".encode(), usedforsecurity=False).digest() for key in keys]
    return np.array(sorted(range(len(digests)), key=digests.__getitem__), np.int64)


def tfds_order(n: int, split: str = "train") -> Int[np.ndarray, "n"]:
    """The original index of each example of a one-shard TFDS split with the keys 0..n-1 (CIFAR-10, CIFAR-100).

    Args:
      n: number of examples.
      split: name of the split.

    Returns:
      The original indices in the order of writing.

    Example:
      >>> sorted(tfds_order(4).tolist())
      [0, 1, 2, 3]
    """
    return md5_order(range(n), split)


def published_order(dataset: str) -> Int[np.ndarray, "50000"]:
    """The order of the published CIFAR-N label files: `tfds_order`, with seven exchanged pairs for CIFAR-100.

    It is the order of the rows in the label files. The order of images is `tfds_order`.
    """
    order = tfds_order(50_000)
    if dataset.removesuffix("_n") == "cifar100":
        twin = np.arange(len(order))
        for a, b in CIFAR100_TWINS:
            twin[[a, b]] = b, a
        order = twin[order]
    return order


def read_order(n: int, shards: int, block: int = 16) -> Int[np.ndarray, "n"]:
    """The write position of each example in a default TFDS read, which takes `block` examples from each shard in turn.

    `md5_order(keys)[read_order(n, shards)]` is the reading order. TFDS reads up to 16 shards in parallel; with more it
    opens a shard whenever another one ends, which this function does not cover.

    Raises:
      ValueError: there are more than 16 shards.
    """
    if not 1 <= shards <= 16:
        raise ValueError(f"read_order covers 1 to 16 shards, which TFDS reads side by side; got shards={shards}")
    ends = [round(n * (shard / shards)) for shard in range(1, shards + 1)]
    starts = np.array([0, *ends[:-1]])
    written = np.arange(n)
    shard = np.searchsorted(ends, written, side="right")
    return np.lexsort((written, shard, (written - starts[shard]) // block))


def tiny_reference_keys(wnids: Iterable[str]) -> list[str]:
    """The keys of the training images in the reference TFDS builder of Tiny-ImageNet, by class as in `wnids`."""
    return [f"{wnid}/{wnid}_{number}.JPEG" for wnid in wnids for number in range(500)]


@checked
def corrupt_in_order(
    labels: Any,
    matrix: Any,
    order: Int[np.ndarray, "n"],
    *,
    sampler: str = "numpy_legacy",
    seed: Seed = 0,
    ids: Any = None,
) -> Int32[np.ndarray, "n"]:
    """Apply `corrupt` to the labels in another order, and return the result in the original order.

    Raises:
      ValueError: `order` is not a permutation.
    """
    labels = np.asarray(labels)
    ids = as_ids(ids, len(labels))
    if not np.array_equal(np.sort(order), np.arange(len(labels))):
        raise ValueError(f"order must be a permutation of 0..{len(labels) - 1}, one entry per label")
    given = np.empty(len(labels), np.int32)
    given[order] = corrupt(labels[order], matrix, sampler=sampler, seed=seed, ids=ids[order])
    return given
