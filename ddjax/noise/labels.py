"""Checks, checksums and confusions of label vectors."""

import hashlib
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Int32


def as_labels(labels: Any, num_classes: int, what: str = "labels") -> Int32[np.ndarray, "n"]:
    """Convert integers [n] or [n, 1] to a new int32 array [n].

    Raises:
      ValueError: an entry is not an integer in 0..num_classes-1, or the shape is another one.
    """
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{what} must be integers (class numbers), got {labels.dtype} {list(labels.shape)}; "
            "round or decode them first, and make one-hot or soft targets after the noise"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(f"{what} must have shape [n] or [n, 1], got {list(labels.shape)}")
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if outside.size:
        at = int(outside[0])
        raise ValueError(
            f"{what} must lie in 0..{num_classes - 1} (num_classes={num_classes}), but {what}[{at}] = {labels[at]} "
            f"({outside.size} of {labels.size} are outside)"
        )
    return labels.astype(np.int32)


def as_ids(ids: Any, n: int) -> Int[np.ndarray, "n"]:
    """Convert canonical indices to int64 [n]; None gives 0..n-1.

    Raises:
      ValueError: an index is negative, repeated or too large.
    """
    if ids is None:
        return np.arange(n)
    ids = np.asarray(ids)
    if not np.issubdtype(ids.dtype, np.integer) or ids.shape != (n,):
        raise ValueError(f"ids must be integers of shape [{n}], one per label, got {ids.dtype} {list(ids.shape)}")
    ids = ids.astype(np.int64)
    if n and (ids.min() < 0 or ids.max() >= 2**32 or (np.diff(np.sort(ids)) == 0).any()):
        raise ValueError("ids must be canonical indices: none negative, none twice, all below 2**32")
    return ids


def checksum(labels: Int[np.ndarray, "n"], num_classes: int) -> str:
    """First 16 hex digits of SHA-256 over the labels as uint8, or as little-endian uint16 for more than 256 classes.

    Example:
      >>> len(checksum(np.arange(10), 10))
      16
    """
    dtype = "<u1" if num_classes <= 256 else "<u2"
    return hashlib.sha256(np.ascontiguousarray(labels, dtype).tobytes()).hexdigest()[:16]


def confusion(
    clean: Int[np.ndarray, "n"], given: Int[np.ndarray, "n"], num_classes: int
) -> tuple[Float[np.ndarray, "k k"], Int[np.ndarray, "k"]]:
    """The share of each clean class (row) with each given label (column), and the size of each clean class.

    A class without examples has the row of the identity matrix.
    """
    pairs = np.bincount(clean.astype(np.int64) * num_classes + given, minlength=num_classes**2)
    pairs = pairs.reshape(num_classes, num_classes)
    sizes = pairs.sum(axis=1)
    shares = np.where(sizes[:, None] > 0, pairs / np.maximum(sizes, 1)[:, None], np.eye(num_classes))
    return shares, sizes
