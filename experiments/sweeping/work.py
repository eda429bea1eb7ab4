"""Arithmetic, sequential passes and bytes of training a network: the parts that formulas are made of."""

import math
from typing import NamedTuple

from ddjax.distillers.datm import memory
from ddjax.experts.identity import parameters
from ddjax.training import Recipe
from ddjax.types import Model
from experiments.sweeping.arithmetic import forward_flop
from experiments.sweeping.machines import Machine

FLOAT = 4
GRADIENT = 3  # F of a gradient in the weights, F being one image's way through the network


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


class Shape(NamedTuple):
    """Of a data set."""

    train: int
    test: int
    image: tuple[int, ...]
    classes: int


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
