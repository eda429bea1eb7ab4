"""Predicted cost of a cell, from shapes alone: operations, sequential passes, memory and disk.

Nothing is loaded or compiled. Predictions are accurate to a factor of about two. `planning` replaces them by measured
rows of other labels or seeds.
"""

import dataclasses
import math
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

from ddjax.evaluation import protocols
from ddjax.evaluation.rates import SAMPLE
from experiments.running.config import Experiment
from experiments.running.methods import Parsed, parse
from experiments.running.shared import TOO_FEW, least_of, loaded, network, pieces
from experiments.sweeping.machines import MACHINES, Machine
from experiments.sweeping.operations import distillation
from experiments.sweeping.whole import on_all
from experiments.sweeping.work import FLOAT, Common, Shape, Work, data_bytes, training

ROW_BYTES = 60_000
# training images, test images, shape, classes; other data sets are loaded
SHAPES = {
    "digits": (1442, 355, (8, 8, 1), 10),
    "mnist": (60_000, 10_000, (28, 28, 1), 10),
    "fashion_mnist": (60_000, 10_000, (28, 28, 1), 10),
    "cifar10": (50_000, 10_000, (32, 32, 3), 10),
    "cifar100": (50_000, 10_000, (32, 32, 3), 100),
    "tiny_imagenet": (100_000, 10_000, (64, 64, 3), 200),
}


class Cost(NamedTuple):
    """Cost of one cell, and work that it shares with others; `work` is None for a method without a formula."""

    work: Work | None
    disk: int
    data: float  # bytes of memory that the cells of a fleet share
    common: tuple[Common, ...] = ()


def check_cells(cells: Iterable[Experiment]) -> None:
    """Choose the pieces of all cells, and compare what they ask for with the sizes of known data sets.

    Raises:
      ValueError: a name or option is wrong, a file of labels or a matrix is missing, or a cell asks for more images, in
        all or per class, than its data set has.
    """
    chosen = [(cell, pieces(cell)) for cell in cells]
    for name in ("labels_file", "matrix_file"):
        for file in sorted({getattr(cell, name) for cell, _ in chosen} - {None}):
            if not pathlib.Path(file).is_file():
                raise ValueError(f"{name} {file} is not a file: name another one, or leave it out")
    known = [(cell, parts) for cell, parts in chosen if cell.dataset in SHAPES]
    for dataset, limit in sorted({(cell.dataset, cell.limit or 0) for cell, _ in known}):
        if limit > (most := SHAPES[dataset][0]):
            raise ValueError(f"limit must be at most {most}, the training images of {dataset}; got {limit}")
    for cell, parts in known:
        shape = shape_of(cell)
        if least_of(cell, parts.parsed, parts.config) > shape.train / shape.classes:
            raise ValueError(
                f"ipc={cell.ipc} of {cell.method} is more than the {shape.train} training images hold for each of "
                f"{shape.classes} classes of {cell.dataset}: {TOO_FEW}"
            )


def shape_of(cell: Experiment) -> Shape:
    """Shape of the cell's training data: of its long tail if it has one, and of that the first `limit` images."""
    if cell.dataset in SHAPES:
        shape = Shape(*SHAPES[cell.dataset])
    else:
        found = loaded(cell.dataset)
        shape = Shape(len(found.labels), len(found.test_labels), tuple(found.image_shape), found.num_classes)
    n, k = shape.train, shape.classes
    if cell.imbalance:
        n = sum(int(n / k * cell.imbalance ** (-c / max(1, k - 1))) for c in range(k))
    return shape._replace(train=min(cell.limit or n, n))


def cost(cell: Experiment, machine: Machine) -> Cost:
    """Cost of a cell on a machine, which decides how much runs in parallel."""
    shape, parsed = shape_of(cell), parse(cell.method)
    if parsed.on_all:
        return _on_all(cell, parsed, shape, machine)
    disk = ROW_BYTES + cell.ipc * shape.classes * (math.prod(shape.image) + shape.classes) * FLOAT
    if (made := distillation(cell, shape, machine)) is None:
        return Cost(None, disk, 0.0)
    return Cost(made.work.then(_students(cell, shape, made.images, machine)), disk, data_bytes(shape), made.common)


def fleet_memory(known: Cost, members: int) -> float | None:
    """Bytes of this many cells in one program."""
    if known.work is None:
        return None
    together = known.data + members * (known.work.memory - known.data)
    return max([together, *(part.work.memory for part in known.common)])


def members_that_fit(cell: Experiment, room: float) -> int:
    """Number of cells like this one that fit into `room` bytes with a fifth to spare; at least 1."""
    known = cost(cell, MACHINES["h200"])
    if known.work is None:
        return 1
    return max(1, int((0.8 * room - known.data) / (known.work.memory - known.data)))


def _on_all(cell: Experiment, parsed: Parsed, shape: Shape, machine: Machine) -> Cost:
    work, common = on_all(cell, parsed, shape, machine)
    if parsed.relabel:  # a set is distilled first, and its students correct the labels
        first = cost(dataclasses.replace(cell, method=parsed.relabel), machine)
        if first.work is None:
            return Cost(None, ROW_BYTES, 0.0)
        work, common = first.work.then(work), first.common
    return Cost(work, ROW_BYTES, data_bytes(shape), common)


def _students(cell: Experiment, shape: Shape, m: int, machine: Machine) -> Work:
    protocol = protocols.named(cell.protocol)
    recipe = protocols.adapted(protocol.recipe(m), flip=cell.mirrored, epochs=cell.epochs)
    model, count = network(cell, protocol.network, shape.image, shape.classes), cell.students or protocol.students
    work = training(recipe, model, shape, m, protocol.checks * shape.test + shape.train, count, machine)
    if protocol.rates:
        out = min(SAMPLE, shape.train)
        work = work.then(training(recipe, model, shape, m, out, len(protocol.rates), machine))
    return work
