"""Operations, sequential passes and bytes of training a network, from which formulas are built."""

import math
from typing import NamedTuple

from ddjax.distillers.datm import memory
from ddjax.experts.identity import parameters
from ddjax.training import Recipe
from ddjax.training.arithmetic import forward_flop
from ddjax.types import Model
from experiments.running.config import Experiment
from experiments.sweeping.machines import Machine

FLOAT = 4
GRADIENT = 3  # F of a gradient in the weights; F is the forward pass of one image


class Work(NamedTuple):
    """Operations, sequential passes through a network, and peak bytes."""

    flop: float = 0.0
    passes: float = 0.0
    memory: float = 0.0

    def then(self, other: "Work") -> "Work":
        """Add work that runs later."""
        return Work(self.flop + other.flop, self.passes + other.passes, max(self.memory, other.memory))


class Common(NamedTuple):
    """Work that several cells share; the first of them does it."""

    name: str
    key: tuple
    work: Work
    disk: int


class Shape(NamedTuple):
    """Shape of a data set."""

    train: int
    test: int
    image: tuple[int, ...]
    classes: int


def labels_of(cell: Experiment) -> tuple:
    """Key of the cell's given labels."""
    return cell.dataset, cell.limit, cell.imbalance, cell.noise, cell.rate, cell.noise_seed


def training(
    recipe: Recipe,
    model: Model,
    shape: Shape,
    n: int,
    watched: float,
    members: int,
    machine: Machine,
    each: float = GRADIENT,
) -> Work:
    """Work of training `members` networks on n images, each of which also predicts `watched` images in total.

    An image that is trained on costs `each` F, and twice as many for a recipe of two gradients per step.
    """
    steps = recipe.epochs * recipe.steps_per_epoch(n)
    seen = steps * min(recipe.batch, n) if recipe.order == "draws" else recipe.epochs * n
    gradients = 2 if recipe.sharpness else 1
    side_by_side = members if machine.together else 1
    return Work(
        members * forward_flop(model, shape.image) * (each * gradients * seen + watched),
        steps * gradients * members / side_by_side,
        data_bytes(shape) + side_by_side * (held(model, shape, min(recipe.batch, n)) + 16 * parameters(model)),
    )


def data_bytes(shape: Shape) -> float:
    """Bytes of the training images, which stay pixels, and of the test images, in pixels and preprocessed."""
    return (shape.train + shape.test * (FLOAT + 1)) * math.prod(shape.image)


def held(model: Model, shape: Shape, images: float) -> float:
    """Bytes of a gradient through this many images."""
    return 3 * memory.unit_of(model, shape.image) * images
