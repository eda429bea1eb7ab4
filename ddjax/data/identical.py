"""Pictures that occur several times, and those of them whose labels differ: at most one of these labels is right.

A file that links bring into two classes is such a picture, and so is a copy of it under another name.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8

from ddjax.data.images import Decoded
from ddjax.names import shown

Names = Sequence[str] | np.ndarray


def first_rows(images: UInt8[np.ndarray, "n h w c"]) -> Int[np.ndarray, "n"]:
    """For each image the first row with the same pixels: its own, unless the image occurred before."""
    seen: dict[bytes, int] = {}
    digests = (hashlib.blake2b(image.tobytes(), digest_size=32).digest() for image in images)
    return np.array([seen.setdefault(digest, row) for row, digest in enumerate(digests)], int)


def conflicts(first: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"]) -> list[Int[np.ndarray, "m"]]:
    """The rows of each picture that has more than one label, pictures in the order of their first row.

    Args:
      first: what `first_rows` says of the images.
      labels: their labels.
    """
    rows = np.flatnonzero(np.isin(first, first[labels != labels[first]]))
    rows = rows[np.argsort(first[rows], kind="stable")]
    return np.split(rows, np.flatnonzero(np.diff(first[rows])) + 1) if len(rows) else []


def described(rows: Int[np.ndarray, "m"], names: Names, classes: Names) -> str:
    """Each row's name with its class in brackets; `names` and `classes` hold an entry for each image."""
    return ", ".join(f"{shown(names[row])} ({shown(classes[row])})" for row in rows)


def labelled_twice(decoded: Decoded, names: Sequence[str], classes: Sequence[str]) -> list[str]:
    """A line for each decoded picture that occurs under several labels; names and classes are of the whole listing."""
    kept = np.flatnonzero(decoded.kept)
    mine = [classes[row] for row in kept]
    groups = conflicts(first_rows(decoded.images), np.unique(mine, return_inverse=True)[1])
    return [described(rows, [names[row] for row in kept], mine) for rows in groups]
