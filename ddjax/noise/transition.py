"""Row-stochastic transition matrices: T[i, j] = P(given = j | clean = i), float64, each row sums to one.

The floating-point expressions are those of the reference generators, because a sampler that walks a frozen random
stream gives other labels for a row that differs in the last bit.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ddjax import names
from ddjax.noise.labels import as_labels, confusion
from ddjax.noise.taxonomy import CIFAR10_CONFUSED, CIFAR10_PAIRS, CIFAR100_SUPERCLASSES, DIGITS_CONFUSED, MOUSE
from ddjax.ranges import check_float
from ddjax.storage.delimited import read_rows
from ddjax.storage.files import read_npy

Matrix = Float[np.ndarray, "k k"]


def checked_rate(rate: float) -> float:
    """`rate` as a float, or an error that says what a rate is."""
    return check_float(rate, "rate", 0, 1)


def checked_matrix(matrix: Any, num_classes: int | None = None, what: str = "matrix") -> Matrix:
    """`matrix` as float64 [k, k]: square, no negative entry, each row within 1e-6 of one (then made exact to 1e-12)."""
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
    """Stay with 1 - rate, else any *other* class alike; `rate` is exactly the expected flip rate."""
    matrix = np.ones((num_classes, num_classes)) * (rate / (num_classes - 1))
    np.fill_diagonal(matrix, 1.0 - rate)
    return matrix


def symmetric_inclusive(rate: float, num_classes: int, **context: Any) -> Matrix:
    """Redraw a share `rate` of the labels over *all* classes, so only rate (k - 1) / k of them change (DivideMix)."""
    matrix = np.ones((num_classes, num_classes)) * (rate / num_classes)
    np.fill_diagonal(matrix, 1.0 - rate + rate / num_classes)
    return matrix


def pairflip(rate: float, num_classes: int, **context: Any) -> Matrix:
    """Class i becomes i + 1 (cyclic) with probability `rate` (Co-teaching)."""
    return _rotations(rate, num_classes, [range(num_classes)])


def pairflip_ref10(rate: float, num_classes: int, **context: Any) -> Matrix:
    """Ten classes in five look-alike pairs that swap with probability `rate`; defined for CIFAR-10 only."""
    if num_classes != 10:
        raise ValueError(f"pairflip_ref10 is a table for the 10 classes of CIFAR-10, got num_classes={num_classes}")
    return _rotations(rate, num_classes, CIFAR10_PAIRS)


def asymmetric(rate: float, num_classes: int, *, dataset: str | None = None, **context: Any) -> Matrix:
    """Flips to the class people would mistake it for.

    CIFAR-10: truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog, each with probability `rate`, so half
    of it is the expected flip rate. MNIST and digits: 2 -> 7, 3 -> 8, 7 -> 1, 5 <-> 6, likewise. CIFAR-100: every
    class becomes the next one of its superclass.
    """
    return _asymmetric("asymmetric", rate, num_classes, dataset, CIFAR100_SUPERCLASSES.values())


def asymmetric_ref(rate: float, num_classes: int, *, dataset: str | None = None, **context: Any) -> Matrix:
    """`asymmetric` with the gap of the reference code: CIFAR-100's mouse is never a source and never a target."""
    groups = [[c for c in members if c != MOUSE] for members in CIFAR100_SUPERCLASSES.values()]
    return _asymmetric("asymmetric_ref", rate, num_classes, dataset, groups)


def asymmetric_index(rate: float, num_classes: int, *, dataset: str | None = None, **context: Any) -> Matrix:
    """CIFAR-100 classes rotate inside groups of five consecutive indices, which are not superclasses (classic code)."""
    _require("asymmetric_index", {"cifar100": 100}, num_classes, dataset)
    return _rotations(rate, num_classes, [range(first, first + 5) for first in range(0, num_classes, 5)])


def frequency(rate: float, num_classes: int, *, counts: Any = None, **context: Any) -> Matrix:
    """Flips go to the other classes in proportion to their size, which keeps the class profile (RoLT).

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
    """The matrix of a kind by name, or of a fork's `module:ATTRIBUTE`: (rate, num_classes, *, dataset, counts) -> T."""
    builder = names.choose(KINDS, kind, "noise kind")
    rate = checked_rate(rate)
    if num_classes < 2:
        raise ValueError(f"label noise needs at least 2 classes, got num_classes={num_classes}")
    built = builder(rate, num_classes, dataset=dataset, counts=counts)
    return checked_matrix(built, num_classes, f"matrix of {kind!r}")


def load_matrix(path: str | pathlib.Path, num_classes: int | None = None) -> Matrix:
    """A matrix from an .npy file or a .csv one (k lines of k numbers, no header), checked."""
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
    except Exception as error:  # damaged arrays raise nearly anything
        raise ValueError(f"matrix file {path} cannot be read as numbers: {error}") from error
    return checked_matrix(values, num_classes, f"matrix file {path}")


def _read_csv(path: pathlib.Path) -> np.ndarray:
    matrix: list[list[float]] = []
    for row in read_rows(path):
        try:
            matrix.append([float(cell) for cell in row.cells])
        except ValueError:
            raise ValueError(f"line {row.line} is {','.join(row.cells)!r}; each line holds numbers alone") from None
        if len(matrix[-1]) != len(matrix[0]):
            raise ValueError(f"line {row.line} holds {len(matrix[-1])} numbers, and the first line {len(matrix[0])}")
    return np.array(matrix, ndmin=2)


def estimate(clean: Any, human: Any, num_classes: int) -> Matrix:
    """The class-conditional part of some given labels: row i is how examples of clean class i were labelled."""
    clean, human = as_labels(clean, num_classes, "clean"), as_labels(human, num_classes, "human")
    if clean.shape != human.shape:
        raise ValueError(f"clean and human must pair up, got {len(clean)} and {len(human)} labels")
    return confusion(clean, human, num_classes)[0]


def _rotations(rate: float, num_classes: int, cycles: Any) -> Matrix:
    """Inside each cycle of classes every one becomes the next with probability `rate`; the others stay."""
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
