"""Ridge regression that predicts every example without its own target, in closed form.

With H the map from targets to fitted values, the prediction for example i from all other examples is
(fitted_i - H_ii target_i) / (1 - H_ii). One decomposition serves every ridge and every example.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddjax.kernels.gram import gram, matmul_highest

RIDGES = tuple(10.0 ** (power / 2) for power in range(-4, 9))  # in units of the mean squared norm of a row
ROWS = 8192  # in memory at a time
_CHOSEN_ON = 20_000  # rows on which the ridge is chosen
_FLAT = 1e-3  # of the root mean square deviation: a feature that varies less is not scaled up to the others
_LEAST = 1e-3  # the least 1 - H_ii

Rotated = Callable[[slice], Float[Array, "b r"]]  # rows -> their coordinates along the principal axes


class LeftOut(NamedTuple):
    """Predictions for every example from all others, the ridge that was chosen, and its mean squared error."""

    predictions: Float[np.ndarray, "n k"]
    ridge: float
    error: float


def left_out(features: Any, targets: Float[np.ndarray, "n k"], ridges: Sequence[float] = RIDGES) -> LeftOut:
    """Predict each row by ridge regression on all other rows.

    The features are centred and divided by their deviations. The ridge is that of least squared error on rows left out.
    The cost is that of one eigendecomposition of a matrix of side min(n, d).

    Args:
      features: [n d], finite; it may be memory-mapped, and is read in blocks of rows.
      targets: of each row; they may be soft.
      ridges: candidates, in units of the mean squared norm of a row.

    Returns:
      The predictions.

    Raises:
      ValueError: there are fewer than three rows, or not as many targets as rows.

    Example:
      >>> import numpy as np
      >>> from ddjax.kernels.left_out import left_out
      >>> x = np.arange(6.0)[:, None]
      >>> bool(np.abs(left_out(x, x).predictions - x).max() < 0.1)
      True
    """
    n = len(features)
    if n < 3 or len(targets) != n:
        raise ValueError(f"left_out needs three rows or more, each with a target; got {n} rows, {len(targets)} targets")
    goals = np.asarray(targets, np.float32)
    middle = goals.mean(axis=0)
    goals = goals - middle
    rotated, squares = _axes(features)
    moments = np.zeros((len(squares), goals.shape[1]))
    for rows in _blocks(n):
        moments += np.asarray(matmul_highest(rotated(rows).T, jnp.asarray(goals[rows])))
    shrink = 1 / (squares[None] + np.asarray(ridges)[:, None] * squares.sum() / n)
    shrink, moments = jnp.asarray(shrink, jnp.float32), jnp.asarray(moments, jnp.float32)
    errors = np.zeros(len(ridges))
    for rows in _blocks(n, -(-n // _CHOSEN_ON)):
        held = _held_out(rotated(rows), shrink, moments, goals[rows], n)
        errors += np.asarray(jnp.sum((held - goals[None, rows]) ** 2, axis=(1, 2)))
    best = int(np.argmin(errors))
    predictions = np.empty_like(goals)
    for rows in _blocks(n):
        predictions[rows] = _held_out(rotated(rows), shrink[best : best + 1], moments, goals[rows], n)[0]
    error = float(((predictions - goals) ** 2).sum(axis=1).mean())
    return LeftOut(predictions + middle, float(ridges[best]), error)


def _blocks(n: int, step: int = 1) -> Iterator[slice]:
    """Slices that cover every `step`-th of n rows."""
    for first in range(0, n, ROWS * step):
        yield slice(first, min(n, first + ROWS * step), step)


def _axes(features: Any) -> tuple[Rotated, Float[np.ndarray, "r"]]:
    """Coordinates along the principal axes of the standardised features, and the sums of their squares."""
    n, d = np.shape(features)
    mean, mean_square = np.zeros(d), np.zeros(d)
    for rows in _blocks(n):
        block = np.asarray(features[rows], np.float64)
        mean += block.sum(axis=0) / n
        mean_square += (block**2).sum(axis=0) / n
    variance = np.maximum(mean_square - mean**2, 0)
    scale = 1 / np.sqrt(variance + _FLAT**2 * variance.mean() + np.finfo(np.float32).tiny)

    def standard(rows: slice) -> Float[Array, "b d"]:
        return jnp.asarray(((np.asarray(features[rows]) - mean) * scale).astype(np.float32))

    if n <= d:
        points = standard(slice(0, n))
        squares, vectors = jnp.linalg.eigh(gram(points, points))
        squares = np.maximum(np.asarray(squares, np.float64), 0)
        coordinates = vectors * jnp.sqrt(jnp.asarray(squares, jnp.float32))[None]
        return lambda rows: coordinates[rows], squares
    total = np.zeros((d, d))
    for rows in _blocks(n):
        block = standard(rows)
        total += np.asarray(gram(block.T, block.T))
    squares, vectors = jnp.linalg.eigh(jnp.asarray(total, jnp.float32))
    return lambda rows: matmul_highest(standard(rows), vectors), np.maximum(np.asarray(squares, np.float64), 0)


@functools.partial(jax.jit, static_argnames="n")
def _held_out(
    coordinates: Float[Array, "b r"],
    shrink: Float[Array, "l r"],
    moments: Float[Array, "r k"],
    goals: Float[Array, "b k"],
    n: int,
) -> Float[Array, "l b k"]:
    """Predictions of rows without their own targets, for each ridge."""
    own = matmul_highest(coordinates**2, shrink.T).T[:, :, None] + 1 / n
    fitted = jax.vmap(lambda one: matmul_highest(coordinates, one[:, None] * moments))(shrink)
    return (fitted - own * goals[None]) / jnp.maximum(1 - own, _LEAST)
