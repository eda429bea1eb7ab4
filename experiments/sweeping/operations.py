"""Floating-point operations of a cell: its own, those it shares, and those of training one network.

They are counted from the settings by the formulas that predict the time of a sweep, so they do not depend on
compilation, caches or other processes.
"""

from typing import Any, NamedTuple

from ddjax.evaluation import protocols
from ddjax.storage.rows import fingerprint
from ddjax.training import Recipe
from experiments.running.config import Experiment, method_config
from experiments.running.methods import last_part, parse
from experiments.running.shared import chosen_baseline, network
from experiments.sweeping.formulas import FORMULAS
from experiments.sweeping.machines import MACHINES, Machine
from experiments.sweeping.whole import before
from experiments.sweeping.work import Common, Shape, Work, training

ANY = MACHINES["cpu2"]  # the machine decides memory and passes, not how many operations there are


class Operations(NamedTuple):
    """Floating-point operations of a cell."""

    distil: float  # of the distillation alone; 0 where nothing is distilled
    train: float  # of one network's training, on the distilled set or on all images
    shared: dict[str, float]  # experts or a pool, in full, by a name that is the same for all cells that use them


def operations(cell: Experiment, shape: Shape) -> Operations | None:
    """Of a cell on data of this shape; None for a method without a formula."""
    if cell.method == "full":
        baseline = chosen_baseline(cell)
        return Operations(0.0, _trained(cell, baseline.recipe, baseline.network, shape, shape.train), {})
    if (made := distillation(cell, shape, ANY)) is None:
        return None
    protocol = protocols.named(cell.protocol)
    train = _trained(cell, protocol.recipe(made.images), protocol.network, shape, made.images)
    shared = {f"{one.name} {fingerprint(repr(one.key))}": one.work.flop for one in made.common}
    return Operations(made.work.flop, train, shared)


class Distillation(NamedTuple):
    """The work of a distillation, work that it shares with other cells, and the images that a student is trained on."""

    work: Work
    common: tuple[Common, ...]
    images: int


def distillation(cell: Experiment, shape: Shape, machine: Machine) -> Distillation | None:
    """Of a cell on a machine; None for a method without a formula, and for training on the whole set."""
    parsed, protocol = parse(cell.method), protocols.named(cell.protocol)
    name = last_part(cell.method)
    if parsed.on_all or name not in FORMULAS:
        return None
    config = method_config(parsed.method.config, cell)
    own = parsed.method.model(config, shape.image, shape.classes) if parsed.method.model else None
    model = own or network(cell, protocol.network, shape.image, shape.classes)
    images = cell.ipc * shape.classes * copies(name, config, shape.image)
    work, common = FORMULAS[name](cell, config, model, shape, machine)
    cleaning = (before(cell, parsed.wrapper, shape, machine),) if parsed.wrapper else ()
    return Distillation(work, (*cleaning, *common), images)


def copies(method: str, config: Any, image_shape: tuple[int, ...]) -> int:
    """Images that students see per stored one: the flipped image, and the cells of a mosaic."""
    flipped = 2 if getattr(config, "flip", False) and method == "rcig" else 1
    factor = config.factor_for(image_shape) if hasattr(config, "factor_for") else 1
    return flipped * factor**2


def _trained(cell: Experiment, recipe: Recipe, name: str, shape: Shape, n: int) -> float:
    recipe = protocols.adapted(recipe, flip=cell.mirrored, epochs=cell.epochs)
    return training(recipe, network(cell, name, shape.image, shape.classes), shape, n, 0, 1, ANY).flop
