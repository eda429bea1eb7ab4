"""How many floating-point operations a cell takes: its own, those it shares, and those of training one network.

They are counted from the settings by the formulas that predict a sweep's time, so that no compilation, cache or other
process on the machine is in them.
"""

from typing import Any, NamedTuple

from ddjax.evaluation import BASELINES, PROTOCOLS
from ddjax.evaluation.protocols import adapted
from ddjax.names import choose
from ddjax.storage.rows import fingerprint
from ddjax.training import Recipe
from experiments.running.config import BASELINE_OF, NO_FLIP, Experiment, method_config
from experiments.running.methods import read
from experiments.running.shared import network
from experiments.sweeping.formulas import FORMULAS
from experiments.sweeping.machines import MACHINES
from experiments.sweeping.work import Shape, training

ANY = MACHINES["cpu2"]  # the machine decides memory and passes, not how many operations there are


class Operations(NamedTuple):
    """Floating-point operations of a cell."""

    distil: float  # of the distillation alone; 0 where nothing is distilled
    train: float  # of one network's training, on the distilled set or on everything
    shared: dict[str, float]  # experts or a pool, in full, by a name that is the same for all cells that use them


def operations(cell: Experiment, shape: Shape) -> Operations | None:
    """Of a cell on data of this shape; None for a method without a formula."""
    asked = read(cell.method)
    if cell.method == "full":
        baseline = choose(BASELINES, cell.baseline or BASELINE_OF[cell.protocol], "baseline")
        return Operations(0.0, _trained(cell, baseline.recipe, baseline.network, shape, shape.train), {})
    if asked.on_all or asked.prune or cell.method not in FORMULAS:
        return None
    method, protocol = asked.method, choose(PROTOCOLS, cell.protocol, "protocol")
    config = method_config(method.config, cell)
    own = method.model(config, shape.image, shape.classes) if method.model else None
    model = own or network(cell, protocol.network, shape.image, shape.classes)
    made, common = FORMULAS[cell.method](cell, config, model, shape, ANY)
    size = cell.ipc * shape.classes * copies(cell.method, config, shape.image)
    train = _trained(cell, protocol.recipe(size), protocol.network, shape, size)
    return Operations(made.flop, train, {f"{one.name} {fingerprint(repr(one.key))}": one.work.flop for one in common})


def copies(method: str, config: Any, image_shape: tuple[int, ...]) -> int:
    """Images that students see per stored one: the flipped image, and the cells of a mosaic."""
    flipped = 2 if getattr(config, "flip", False) and method == "rcig" else 1
    factor = config.factor_for(image_shape) if hasattr(config, "factor_for") else 1
    return flipped * factor**2


def _trained(cell: Experiment, recipe: Recipe, name: str, shape: Shape, n: int) -> float:
    recipe = adapted(recipe, flip=cell.dataset not in NO_FLIP, epochs=cell.epochs)
    return training(recipe, network(cell, name, shape.image, shape.classes), shape, n, 0, 1, ANY).flop
