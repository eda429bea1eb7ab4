"""Labels and a transition matrix -> given labels, by either of two samplers."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, Int32

from ddjax import names
from ddjax.noise.labels import as_ids, as_labels
from ddjax.noise.transition import checked_matrix
from ddjax.ranges import Seed, checked

CHUNK = 4096  # labels at a time, padded to it: one compilation serves data sets of every size


@checked
def corrupt(
    labels: Any, matrix: Any, *, sampler: str = "numpy_legacy", seed: Seed = 0, ids: Any = None
) -> Int32[np.ndarray, "n"]:
    """Draw a given label for each clean one from its row of `matrix`.

    Args:
        labels: integers [n] or [n, 1] in 0..k-1; not modified.
        matrix: [k, k], T[i, j] = P(given = j | clean = i).
        sampler: "numpy_legacy" walks the labels in the order handed over with one frozen random stream, which
            reproduces published noise bit for bit; "jax" has a key per id, so the label of an example does not depend
            on which others are there or in what order.
        seed: of the stream or of the key.
        ids: [n] canonical indices for "jax"; 0..n-1 by default. "numpy_legacy" knows positions only.
    """
    draw = names.choose(SAMPLERS, sampler, "sampler")
    matrix = checked_matrix(matrix)
    labels = as_labels(labels, len(matrix))
    return draw(labels, matrix, seed, as_ids(ids, len(labels)))


def numpy_legacy(
    labels: Int32[np.ndarray, "n"], matrix: Float[np.ndarray, "k k"], seed: int, ids: Int[np.ndarray, "n"]
) -> Int32[np.ndarray, "n"]:
    """The Co-teaching sampler: one single-trial multinomial per label from `RandomState(seed)`.

    The legacy multinomial is a chain of binomials that ends with its only trial, so how much of the stream a label
    uses up depends on the outcome: nothing here can be drawn at once or by inverting a distribution.
    """
    draw, rows = np.random.RandomState(seed).multinomial, list(matrix)
    return np.fromiter((draw(1, rows[label]).argmax() for label in labels.tolist()), np.int32, len(labels))


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
