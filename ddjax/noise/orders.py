"""The order in which TFDS writes and reads the split train, computed without TFDS.

TFDS writes examples sorted by the 128-bit MD5 of split name + key. The keys of CIFAR are 0, 1, 2, ...
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int

# Pairs of identical CIFAR-100 images that the publishers of CIFAR-100N, who matched by pixels, exchanged.
CIFAR100_TWINS = (
    *((4348, 30931), (8599, 22657), (9012, 31128), (17688, 41874)),
    *((18461, 46752), (20635, 32666), (30418, 47806)),
)


def md5_order(keys: Iterable[str | int]) -> Int[np.ndarray, "n"]:
    """The order in which TFDS writes `keys`: entry j is the position of the key that is written j-th."""
    digests = [hashlib.md5(f"train{key}".encode(), usedforsecurity=False).digest() for key in keys]
    return np.array(sorted(range(len(digests)), key=digests.__getitem__), np.int64)


def tfds_order(n: int) -> Int[np.ndarray, "n"]:
    """The original index of each example of a one-shard TFDS split with the keys 0..n-1 (CIFAR-10, CIFAR-100).

    Args:
      n: number of examples.

    Returns:
      The original indices in the order of writing.

    Example:
      >>> sorted(tfds_order(4).tolist())
      [0, 1, 2, 3]
    """
    return md5_order(range(n))


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
