"""Draw given labels from clean labels and a transition matrix, with one of two samplers."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, Int32

from ddjax import names
from ddjax.noise.labels import as_ids, as_labels
from ddjax.noise.transition import checked_matrix
from ddjax.ranges import Seed, checked

BLOCK = 2**16  # numbers of the legacy stream that are drawn at a time
CHUNK = 4096  # labels are drawn in chunks of this size, with padding, so all data sets share one compilation


@checked
def corrupt(
    labels: Any, matrix: Any, *, sampler: str = "numpy_legacy", seed: Seed = 0, ids: Any = None
) -> Int32[np.ndarray, "n"]:
    """Draw a given label for each clean one from its row of `matrix`.

    Args:
      labels: integers [n] or [n, 1] in 0..k-1.
      matrix: [k, k], T[i, j] = P(given = j | clean = i).
      sampler: "numpy_legacy" draws the labels in the given order from one legacy random stream, which reproduces
        published noise bit for bit. "jax" uses a key per id, so a label does not depend on the other examples or on
        their order.
      seed: of the stream or of the key.
      ids: [n] canonical indices for "jax"; 0..n-1 by default. "numpy_legacy" uses only positions.

    Returns:
      The given labels, as a new array.

    Raises:
      ValueError: an argument is unknown, out of range or of another shape.

    Example:
      >>> corrupt([0, 1, 2], np.eye(3)).tolist()
      [0, 1, 2]
    """
    draw = names.choose(SAMPLERS, sampler, "sampler")
    matrix = checked_matrix(matrix)
    labels = as_labels(labels, len(matrix))
    return draw(labels, matrix, seed, as_ids(ids, len(labels)))


def numpy_legacy(
    labels: Int32[np.ndarray, "n"], matrix: Float[np.ndarray, "k k"], seed: int, ids: Int[np.ndarray, "n"]
) -> Int32[np.ndarray, "n"]:
    """The sampler of Co-teaching: one single-trial multinomial per label from `RandomState(seed)`.

    The multinomial is a chain of binomials of one trial that stops at the first success. Each of them takes a number of
    the stream, except for a probability of 0, so the numbers that a label takes depend on its outcome. The chain is
    written out here, because from 2.5 on NumPy's takes a number for a probability of 0 as well: other labels.
    """
    stream, last, given = np.random.RandomState(seed), len(matrix) - 1, np.empty_like(labels)
    rows, numbers, at = [_binomials(row) for row in matrix], stream.random_sample(BLOCK + last), 0
    for i, label in enumerate(labels.tolist()):
        if at + last > len(numbers):
            numbers, at = np.concatenate([numbers[at:], stream.random_sample(BLOCK)]), 0
        columns, bounds, likely = rows[label]
        (hits,) = np.nonzero((numbers[at : at + len(bounds)] > bounds) != likely)
        given[i] = columns[hits[0]] if len(hits) else last
        at += hits[0] + 1 if len(hits) else len(bounds)
    return given


def _binomials(
    row: Float[np.ndarray, "k"],
) -> tuple[Int[np.ndarray, "l"], Float[np.ndarray, "l"], Bool[np.ndarray, "l"]]:
    """The columns of a row with a binomial, what a number must exceed for its outcome, and whether that is a failure.

    The outcome that is drawn is the less likely one: a success up to a probability of 0.5, and a failure above.
    """
    (columns,) = np.nonzero(row[:-1])
    left = np.subtract.accumulate([1.0, *row[columns]])[:-1]
    with np.errstate(divide="ignore"):  # rounding may leave nothing before the last column
        chances = row[columns] / left
    likely = chances > 0.5
    return columns, 1 - np.where(likely, 1 - chances, chances), likely


def keyed(
    labels: Int32[np.ndarray, "n"], matrix: Float[np.ndarray, "k k"], seed: int, ids: Int[np.ndarray, "n"]
) -> Int32[np.ndarray, "n"]:
    """categorical(key of the id, log T[label]): a pure function of (seed, id, label, T)."""
    with np.errstate(divide="ignore"):
        rows = np.log(matrix).astype(np.float32)
    key, given = jax.random.key(seed), np.empty_like(labels)
    for start in range(0, len(labels), CHUNK):
        part = slice(start, start + CHUNK)
        padding = (0, CHUNK - len(labels[part]))
        drawn = _keyed(key, rows, np.pad(labels[part], padding), np.pad(ids[part].astype(np.uint32), padding))
        given[part] = np.asarray(drawn)[: len(labels[part])]
    return given


@jax.jit
def _keyed(key, rows, labels, ids):
    def one(label, i):
        return jax.random.categorical(jax.random.fold_in(key, i), rows[label])

    return jax.vmap(one)(labels, ids)


SAMPLERS = {"numpy_legacy": numpy_legacy, "jax": keyed}
