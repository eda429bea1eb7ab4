"""What a cell will cost, from shapes alone: arithmetic, sequential passes, memory and disk.

The unit is F, the operations of one image's way through the network; a gradient takes 3 F. Each method's formula
counts what one outer step asks for; constants that no formula gives are fitted to measured steps (see each). Nothing
is loaded or compiled. A prediction is good to a factor of about two; rows that are there refine it (`planning`).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ddjax.data import load
from ddjax.distillers import datm_memory as memory
from ddjax.evaluation import BASELINES, PROTOCOLS
from ddjax.evaluation.protocols import upright
from ddjax.evaluation.students import HELD_OUT, rescaled
from ddjax.experts import size
from ddjax.experts.fleet import SIDE_BY_SIDE
from ddjax.experts.identity import parameters
from ddjax.experts.recipes import pool_recipe
from ddjax.names import choose
from ddjax.training import Recipe
from ddjax.types import Model
from experiments.config import BASELINE_OF, UPRIGHT, Experiment, method_config
from experiments.methods import read
from experiments.shared import network
from experiments.sweeping.arithmetic import forward_flop
from experiments.sweeping.machines import MACHINES, Machine

FLOAT = 4
GRADIENT = 3  # F of a gradient in the weights
ROW_BYTES = 60_000
# training images, test images, shape, classes; other sets are looked at
SHAPES = {
    "digits": (1442, 355, (8, 8, 1), 10),
    "mnist": (60_000, 10_000, (28, 28, 1), 10),
    "fashion_mnist": (60_000, 10_000, (28, 28, 1), 10),
    "cifar10": (50_000, 10_000, (32, 32, 3), 10),
    "cifar100": (50_000, 10_000, (32, 32, 3), 100),
    "tiny_imagenet": (100_000, 10_000, (64, 64, 3), 200),
}


class Work(NamedTuple):
    """Operations, passes through a network that wait for one another, and bytes held at the worst moment."""

    flop: float = 0.0
    passes: float = 0.0
    memory: float = 0.0

    def then(self, other: "Work") -> "Work":
        """One after the other."""
        return Work(self.flop + other.flop, self.passes + other.passes, max(self.memory, other.memory))


class Common(NamedTuple):
    """Something that several cells use and the first of them makes."""

    name: str
    key: tuple
    work: Work
    disk: int


class Cost(NamedTuple):
    """Of one cell alone, and what it has in common with others; `work` is None for a method without a formula."""

    work: Work | None
    disk: int
    data: float  # bytes of the work's memory that the cells of a fleet hold once
    common: tuple[Common, ...] = ()


class Shape(NamedTuple):
    """Of a data set."""

    train: int
    test: int
    image: tuple[int, ...]
    classes: int


def shape_of(cell: Experiment, data_dir: str | None = None) -> Shape:
    """Of the cell's data, after its limit and long tail."""
    if cell.dataset in SHAPES:
        shape = Shape(*SHAPES[cell.dataset])
    else:
        found = load(cell.dataset, data_dir=data_dir)
        shape = Shape(len(found.labels), len(found.test_labels), tuple(found.image_shape), found.num_classes)
    n, k = min(cell.limit or shape.train, shape.train), shape.classes
    if cell.imbalance:
        n = sum(int(n / k * cell.imbalance ** (-c / max(1, k - 1))) for c in range(k))
    return shape._replace(train=n)


def training(
    recipe: Recipe, model: Model, shape: Shape, n: int, watched: float, members: int, machine: Machine
) -> Work:
    """`members` networks trained on n images, each looking at `watched` images in all."""
    steps = recipe.epochs * recipe.steps_per_epoch(n)
    seen = steps * min(recipe.batch, n) if recipe.order == "draws" else recipe.epochs * n
    gradients = 2 if recipe.sharpness else 1
    side_by_side = members if machine.together else 1
    return Work(
        members * forward_flop(model, shape.image) * (GRADIENT * gradients * seen + watched),
        steps * gradients * members / side_by_side,
        data_bytes(shape) + side_by_side * (held(model, shape, min(recipe.batch, n)) + 16 * parameters(model)),
    )


def data_bytes(shape: Shape) -> float:
    """Training and test images on the device, once in pixels and once preprocessed."""
    return (shape.train + shape.test) * math.prod(shape.image) * (FLOAT + 1)


def held(model: Model, shape: Shape, images: float) -> float:
    """Bytes of a gradient through so many images."""
    return 3 * memory.unit_of(model, shape.image) * images


def cost(cell: Experiment, machine: Machine, data_dir: str | None = None) -> Cost:
    """Of a cell, on a machine that decides what runs side by side."""
    shape = shape_of(cell, data_dir)
    if cell.method == "full":
        return Cost(_full(cell, shape, machine), ROW_BYTES, data_bytes(shape))
    asked = read(cell.method)
    if asked.whole or asked.prune:  # what a rule or a cleaner adds is known once it has been measured
        return Cost(None, ROW_BYTES, 0.0)
    method = asked.method
    config = method_config(method.config, cell)
    protocol = choose(PROTOCOLS, cell.protocol, "protocol")
    own = method.model(config, shape.image, shape.classes) if method.model else None
    model = own or network(cell, protocol.network, shape.image, shape.classes)
    disk = ROW_BYTES + cell.ipc * shape.classes * (math.prod(shape.image) + shape.classes) * FLOAT
    formula = FORMULAS.get(cell.method)
    if formula is None:
        return Cost(None, disk, 0.0)
    made, common = formula(cell, config, model, shape, machine)
    copies = (2 if getattr(config, "use_flip", False) and cell.method == "rcig" else 1) * getattr(
        config, "factor", 1
    ) ** 2
    return Cost(made.then(_students(cell, shape, copies, machine)), disk, data_bytes(shape), common)


def fleet_memory(known: Cost, members: int) -> float | None:
    """Bytes of so many such cells side by side."""
    if known.work is None:
        return None
    together = known.data + members * (known.work.memory - known.data)
    return max([together, *(part.work.memory for part in known.common)])


def members_that_fit(cell: Experiment, room: float, data_dir: str | None = None) -> int:
    """How many cells like this one fit side by side into `room` bytes, with a fifth to spare; one at the least."""
    known = cost(cell, MACHINES["h200"], data_dir)
    if known.work is None:
        return 1
    return max(1, int((0.8 * room - known.data) / (known.work.memory - known.data)))


def _full(cell: Experiment, shape: Shape, machine: Machine) -> Work:
    baseline = BASELINES[cell.baseline or BASELINE_OF[cell.protocol]]
    recipe = rescaled(baseline.recipe, cell.epochs) if cell.epochs else baseline.recipe
    model, members = network(cell, baseline.network, shape.image, shape.classes), cell.students or 1
    whole = training(recipe, model, shape, shape.train, recipe.epochs * (shape.train + shape.test), members, machine)
    if not cell.holdout:
        return whole
    out = round(shape.train * cell.holdout)
    return whole.then(training(recipe, model, shape, shape.train - out, recipe.epochs * out, members, machine))


def _students(cell: Experiment, shape: Shape, copies: int, machine: Machine) -> Work:
    protocol, m = PROTOCOLS[cell.protocol], cell.ipc * shape.classes * copies
    recipe = protocol.recipe(m)
    recipe = upright(recipe) if cell.dataset in UPRIGHT else recipe
    recipe = rescaled(recipe, cell.epochs) if cell.epochs else recipe
    model, count = network(cell, protocol.network, shape.image, shape.classes), cell.students or protocol.students
    work = training(recipe, model, shape, m, protocol.checks * shape.test + shape.train, count, machine)
    if len(protocol.rates) > 1:
        out = min(HELD_OUT, shape.train)
        work = work.then(training(recipe, model, shape, m, out, len(protocol.rates), machine))
    return work


def labels_of(cell: Experiment) -> tuple:
    """What decides a cell's given labels."""
    return cell.dataset, cell.limit, cell.imbalance, cell.noise, cell.rate, cell.noise_seed


def selected(cell: Experiment, config: Any, model: Model, shape: Shape, machine: Machine) -> tuple[Work, tuple]:
    """Features of all images, at most."""
    return Work(forward_flop(model, shape.image) * shape.train, 1, data_bytes(shape)), ()


def rcig(cell: Experiment, config: Any, model: Model, shape: Shape, machine: Machine) -> tuple[Work, tuple]:
    """Tangents of real and learned images, then descents in them.

    4 F for each real image; for each learned one (mirror images count) 2 F a step of the inner problem, 1 F one of
    the inverse Hessian, and its gradient in the half of `pool_most_steps` that a visited network is trained on
    average. Two cores give 0.5 s (width 32, batch 256), 13.6 s and 59.9 s (width 128, batch 1024, IPC 1 and 10).
    """
    support = config.ipc * shape.classes * (2 if config.use_flip else 1)
    each = 2 * config.inner_steps + config.hinv_steps + GRADIENT * config.pool_most_steps / 2
    flop = config.repeats * forward_flop(model, shape.image) * (4 * min(config.batch, shape.train) + each * support)
    passes = config.inner_steps + config.hinv_steps + config.pool_most_steps / 2 + 4
    rows = min(config.batch, shape.train) + 2 * support
    peak = data_bytes(shape) + 2 * held(model, shape, rows) + FLOAT * 4 * config.pool_size * parameters(model)
    return Work(config.steps * flop, config.steps * passes, peak), ()


def datm(cell: Experiment, config: Any, model: Model, shape: Shape, machine: Machine) -> tuple[Work, tuple]:
    """Experts, once for the same labels; then each outer step descends T steps and comes back at second order.

    12 F for an image in an inner step: its gradient, that again on the way back, and the derivative of it.
    """
    m, k = config.ipc * shape.classes, shape.classes
    b, segments = config.batch(m), config.segments
    shapes = memory.shapes_of(model, shape.image, m, k, config.inner_steps, b, segments if machine.together else 1)
    asked = memory.Way(config.hypergradient, config.remat, b // min(config.micro_batch or b, b))
    at_once = memory.AT_ONCE_XLA if machine.together else memory.AT_ONCE
    peak = data_bytes(shape) + memory.peak(shapes, memory.fitted(shapes, asked, config.memory), at_once)
    passes = config.steps * config.inner_steps * 4 * (1 if machine.together else segments)
    flop = config.steps * segments * config.inner_steps * b * 12 * forward_flop(model, shape.image)
    recipe = config.recipe(shape.train)
    key = ("experts", *labels_of(cell), recipe, parameters(model), config.expert_seed, config.experts)
    experts = _fleet("experts", key, recipe, config.kept(), config.experts, model, shape, machine, config.storage)
    return Work(flop, passes, peak), (experts._replace(disk=experts.disk if config.store else 0),)


def dance(cell: Experiment, config: Any, model: Model, shape: Shape, machine: Machine) -> tuple[Work, tuple]:
    """Features of real images, gradients of the learned ones in two views; and a pool, for the same labels and seed.

    Two cores give 1.06 s and 2.21 s (width 128, IPC 1 and 10).
    """
    k, real = shape.classes, min(config.batch, shape.train // shape.classes)
    learned = min(config.cap, config.ipc * config.factor**2)
    flop = k * forward_flop(model, shape.image) * (real + GRADIENT * learned * (1 + config.calibrations))
    classes = k if machine.together else 1
    peak = data_bytes(shape) + held(model, shape, classes * max(real / 3, learned))
    work = Work(config.steps * flop, config.steps * (2 + config.calibrations) * (k / classes), peak)
    if config.encoder == "random":
        return work, ()
    recipe = pool_recipe(config.pool_epochs) if config.pool_epochs else pool_recipe()
    key = ("pool", *labels_of(cell), cell.seed, recipe, parameters(model), config.members)
    return work, (_fleet("pool", key, recipe, "ends", config.members, model, shape, machine, "float32"),)


def _fleet(
    name: str,
    key: tuple,
    recipe: Recipe,
    keep: Any,
    members: int,
    model: Model,
    shape: Shape,
    machine: Machine,
    kind: str,
) -> Common:
    group = min(members, SIDE_BY_SIDE) if machine.together else 1
    one = training(recipe, model, shape, shape.train, 0, group, machine)
    work = Work(one.flop * members / group, one.passes * members / group, one.memory)
    return Common(name, key, work, size(model, recipe, members, keep=keep, storage=kind))


Formula = Callable[[Experiment, Any, Model, Shape, Machine], tuple[Work, tuple[Common, ...]]]
FORMULAS: dict[str, Formula] = {
    **dict.fromkeys(("random", "herding", "kcenter"), selected),
    "rcig": rcig,
    **dict.fromkeys(("datm", "mtt"), datm),
    **dict.fromkeys(("dance", "dm"), dance),
}
