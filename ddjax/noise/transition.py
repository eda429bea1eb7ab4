"""Row-stochastic transition matrices: T[i, j] = P(given = j | clean = i), float64, each row sums to one.

The floating-point expressions are those of the reference generators. With a legacy random stream, a row that differs in
the last bit gives other labels.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ddjax import names
from ddjax.noise.labels import as_labels, confusion
from ddjax.noise.taxonomy import CIFAR10_CONFUSED, CIFAR10_PAIRS, CIFAR100_SUPERCLASSES, DIGITS_CONFUSED, MOUSE
from ddjax.ranges import Share, check
from ddjax.storage.arrays import read_npy
from ddjax.storage.delimited import read_rows

Matrix = Float[np.ndarray, "k k"]


def checked_rate(rate: float) -> float:
    """`rate` as a float; a ValueError if it is not a number from 0 to 1."""
    check(rate, Share, "rate")
    return float(rate)


def checked_matrix(matrix: Any, num_classes: int | None = None, what: str = "matrix") -> Matrix:
    """Convert `matrix` to float64 [k, k]. Row sums within 1e-6 of one are normalised.

    Raises:
      ValueError: it is not square, has a negative entry, or a row does not sum to one.
    """
    matrix = np.array(matrix, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{what} must be square [k, k], got shape {list(matrix.shape)}")
    if num_classes is not None and len(matrix) != num_classes:
        raise ValueError(f"{what} is {len(matrix)} x {len(matrix)}, but there are {num_classes} classes")
    if not np.isfinite(matrix).all() or (matrix < 0).any():
        raise ValueError(f"{what} must hold probabilities; it has a negative or non-finite entry")
    sums = matrix.sum(axis=1)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > 1e-6:
        raise ValueError(
            f"each row of {what} must sum to 1 (row = clean class, column = given label), but row {worst} sums to "
            f"{sums[worst]:.9g}; a matrix whose columns sum to 1 has to be transposed"
        )
    loose = np.abs(sums - 1) > 1e-12
    matrix[loose] /= sums[loose, None]
    return matrix


def symmetric(rate: float, num_classes: int, **context: Any) -> Matrix:
    """Keep the label with probability 1 - rate, else a uniform *other* class. The expected flip rate is `rate`."""
    matrix = np.ones((num_classes, num_classes)) * (rate / (num_classes - 1))
    np.fill_diagonal(matrix, 1.0 - rate)
    return matrix


def symmetric_inclusive(rate: float, num_classes: int, **context: Any) -> Matrix:
    """Redraw with probability `rate` from *all* classes (DivideMix). The expected flip rate is rate (k - 1) / k."""
    matrix = np.ones((num_classes, num_classes)) * (rate / num_classes)
    np.fill_diagonal(matrix, 1.0 - rate + rate / num_classes)
    return matrix


def pairflip(rate: float, num_classes: int, **context: Any) -> Matrix:
    """Class i becomes i + 1 (modulo k) with probability `rate` (Co-teaching)."""
    return _rotations(rate, num_classes, [range(num_classes)])


def pairflip_ref10(rate: float, num_classes: int, **context: Any) -> Matrix:
    """The classes of five look-alike pairs of CIFAR-10 are exchanged with probability `rate`."""
    if num_classes != 10:
        raise ValueError(f"pairflip_ref10 is a table for the 10 classes of CIFAR-10, got num_classes={num_classes}")
    return _rotations(rate, num_classes, CIFAR10_PAIRS)


def asymmetric(rate: float, num_classes: int, *, dataset: str | None = None, **context: Any) -> Matrix:
    """Flips to a similar class.

    CIFAR-10: truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog, each with probability `rate`, so the
    expected flip rate is half of `rate`. MNIST and digits: 2 -> 7, 3 -> 8, 7 -> 1, 5 <-> 6, likewise. CIFAR-100: each
    class becomes the next class of its superclass.
    """
    return _asymmetric("asymmetric", rate, num_classes, dataset, CIFAR100_SUPERCLASSES.values())


def asymmetric_ref(rate: float, num_classes: int, *, dataset: str | None = None, **context: Any) -> Matrix:
    """`asymmetric` as in the reference code, where the class mouse of CIFAR-100 is neither a source nor a target."""
    groups = [[c for c in members if c != MOUSE] for members in CIFAR100_SUPERCLASSES.values()]
    return _asymmetric("asymmetric_ref", rate, num_classes, dataset, groups)


def asymmetric_index(rate: float, num_classes: int, *, dataset: str | None = None, **context: Any) -> Matrix:
    """Each class of CIFAR-100 becomes the next in its group of five consecutive indices, which are not superclasses."""
    _require("asymmetric_index", {"cifar100": 100}, num_classes, dataset)
    return _rotations(rate, num_classes, [range(first, first + 5) for first in range(0, num_classes, 5)])


def frequency(rate: float, num_classes: int, *, counts: Any = None, **context: Any) -> Matrix:
    """Flips to the other classes in proportion to their sizes, which keeps the class sizes (RoLT).

    T[i, j] = rate N_j / (N - N_i), `counts` being the N_j of the clean labels.
    """
    if counts is None or np.shape(counts) != (num_classes,):
        raise ValueError(f"frequency needs counts, the {num_classes} sizes of the clean classes; got {counts!r}")
    counts = np.asarray(counts, np.float64)
    others = counts.sum() - counts
    if (counts < 0).any() or (others <= 0).any():
        raise ValueError(f"frequency needs non-negative counts in at least two classes, got {counts.tolist()}")
    matrix = rate * counts[None, :] / others[:, None]
    np.fill_diagonal(matrix, 1.0 - rate)
    return matrix


KINDS: dict[str, Callable[..., Matrix]] = {
    "symmetric": symmetric,
    "symmetric_inclusive": symmetric_inclusive,
    "pairflip": pairflip,
    "pairflip_ref10": pairflip_ref10,
    "asymmetric": asymmetric,
    "asymmetric_ref": asymmetric_ref,
    "asymmetric_index": asymmetric_index,
    "frequency": frequency,
}


def matrix(
    kind: str,
    rate: float,
    num_classes: int,
    dataset: str | None = None,
    counts: Int[np.ndarray, "k"] | None = None,
) -> Matrix:
    """Build the transition matrix of a kind of noise.

    Args:
      kind: a name in KINDS, or `module:ATTRIBUTE` of a function (rate, num_classes, *, dataset, counts) -> matrix.
      rate: nominal share of flips.
      num_classes: k.
      dataset: its name, for kinds that are defined per data set.
      counts: sizes of the clean classes, for "frequency".

    Returns:
      The matrix [k, k].

    Raises:
      ValueError: the kind is unknown, or not defined for these arguments.

    Example:
      >>> matrix("symmetric", 0.5, 3)[0].tolist()
      [0.5, 0.25, 0.25]
    """
    builder = names.choose(KINDS, kind, "noise kind")
    rate = checked_rate(rate)
    if num_classes < 2:
        raise ValueError(f"label noise needs at least 2 classes, got num_classes={num_classes}")
    built = builder(rate, num_classes, dataset=dataset, counts=counts)
    return checked_matrix(built, num_classes, f"matrix of {kind!r}")


def load_matrix(path: str | pathlib.Path, num_classes: int | None = None) -> Matrix:
    """Read a matrix from an .npy or a .csv (k lines of k numbers without a header), and check it.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not a transition matrix.
    """
    path = pathlib.Path(path)
    if path.suffix not in (".npy", ".csv"):
        raise ValueError(f"matrix file {path} must end in .npy or .csv")
    if not path.exists():
        raise FileNotFoundError(f"matrix file {path} does not exist")
    try:
        values = read_npy(path) if path.suffix == ".npy" else _read_csv(path)
        values = np.array(values, np.float64)
    except OSError:
        raise
    except Exception as error:  # damaged arrays raise many kinds of errors
        raise ValueError(f"matrix file {path} cannot be read as numbers: {error}") from error
    return checked_matrix(values, num_classes, f"matrix file {path}")


def _read_csv(path: pathlib.Path) -> np.ndarray:
    matrix: list[list[float]] = []
    for row in read_rows(path):
        try:
            matrix.append([float(cell) for cell in row.cells])
        except ValueError:
            raise ValueError(
                f"line {row.line} is {','.join(row.cells)!r}; each line must contain numbers only"
            ) from None
        if len(matrix[-1]) != len(matrix[0]):
            raise ValueError(f"line {row.line} holds {len(matrix[-1])} numbers, and the first line {len(matrix[0])}")
    return np.array(matrix, ndmin=2)


def estimate(clean: Any, human: Any, num_classes: int) -> Matrix:
    """Estimate a transition matrix: row i is the distribution of the given labels in clean class i.

    Args:
      clean: clean labels.
      human: given labels of the same examples.
      num_classes: k.

    Returns:
      The matrix [k, k].

    Example:
      >>> estimate([0, 0, 1], [0, 1, 1], 2).tolist()
      [[0.5, 0.5], [0.0, 1.0]]
    """
    clean, human = as_labels(clean, num_classes, "clean"), as_labels(human, num_classes, "human")
    if clean.shape != human.shape:
        raise ValueError(f"clean and human must have the same length, got {len(clean)} and {len(human)} labels")
    return confusion(clean, human, num_classes)[0]


def _rotations(rate: float, num_classes: int, cycles: Any) -> Matrix:
    """In each cycle of classes, a class becomes the next one with probability `rate`. Other classes are unchanged."""
    pairs = [(cycle[i], cycle[(i + 1) % len(cycle)]) for cycle in cycles for i in range(len(cycle))]
    return _flips(rate, num_classes, pairs)


def _flips(rate: float, num_classes: int, pairs: Any) -> Matrix:
    matrix = np.eye(num_classes)
    for source, target in pairs:
        matrix[source, source], matrix[source, target] = 1.0 - rate, rate
    return matrix


def _asymmetric(kind: str, rate: float, num_classes: int, dataset: str | None, groups: Any) -> Matrix:
    family = _require(kind, {"cifar10": 10, "cifar100": 100, "mnist": 10, "digits": 10}, num_classes, dataset)
    if family == "cifar100":
        return _rotations(rate, num_classes, list(groups))
    return _flips(rate, num_classes, CIFAR10_CONFUSED if family == "cifar10" else DIGITS_CONFUSED)


def _require(kind: str, defined: Mapping[str, int], num_classes: int, dataset: str | None) -> str:
    family = (dataset or "").removesuffix("_n")
    if defined.get(family) != num_classes:
        known = ", ".join(f"{name} ({size} classes)" for name, size in defined.items())
        raise ValueError(
            f"{kind} noise has no definition for dataset {dataset!r} with {num_classes} classes; it has one for "
            f"{known}. Use symmetric or pairflip, or kind 'custom' with a matrix file of your own"
        )
    return family
