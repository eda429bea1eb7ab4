"""Identical images in a data set, and those with different labels, of which at most one is correct.

Links to one file from two classes give identical images, and so do copies under other names.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Shaped

from ddjax.data.images import Decoded
from ddjax.names import shown

Names = Sequence[str] | np.ndarray


def first_rows(examples: Shaped[np.ndarray, "n ..."]) -> Int[np.ndarray, "n"]:
    """For each image or feature vector, the first row with the same content.

    Example:
      >>> first_rows(np.zeros((3, 2, 2, 1), np.uint8)).tolist()
      [0, 0, 0]
    """
    seen: dict[bytes, int] = {}
    digests = (hashlib.blake2b(one.tobytes(), digest_size=32).digest() for one in examples)
    return np.array([seen.setdefault(digest, row) for row, digest in enumerate(digests)], int)


def conflicts(first: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"]) -> list[Int[np.ndarray, "m"]]:
    """The rows of each image that occurs with more than one label, in the order of the first row.

    Example:
      >>> [rows.tolist() for rows in conflicts(np.array([0, 1, 0]), np.array([5, 5, 6]))]
      [[0, 2]]
    """
    rows = np.flatnonzero(np.isin(first, first[labels != labels[first]]))
    rows = rows[np.argsort(first[rows], kind="stable")]
    return np.split(rows, np.flatnonzero(np.diff(first[rows])) + 1) if len(rows) else []


def described(rows: Int[np.ndarray, "m"], names: Names, classes: Names) -> str:
    """The names of the rows with their classes in brackets; `names` and `classes` have an entry for each image."""
    return ", ".join(f"{shown(names[row])} ({shown(classes[row])})" for row in rows)


def labelled_twice(decoded: Decoded, names: Sequence[str], classes: Sequence[str]) -> list[str]:
    """One line for each decoded image that occurs with several labels. Names and classes include skipped files."""
    kept = np.flatnonzero(decoded.kept)
    mine = [classes[row] for row in kept]
    groups = conflicts(first_rows(decoded.images), np.unique(mine, return_inverse=True)[1])
    return [described(rows, [names[row] for row in kept], mine) for rows in groups]
