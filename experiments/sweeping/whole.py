"""Work of training on the whole set: plainly, by a robust rule, or after networks that judge the labels."""

from ddjax.denoising.cleaning import WRAPPERS
from ddjax.denoising.diversion import ROUNDS, diverted
from ddjax.denoising.networks import predict_plain, short_recipe, young_recipe
from ddjax.evaluation import protocols
from ddjax.evaluation.holdout import holdout_size
from ddjax.robust import make_rule
from ddjax.training import Recipe
from ddjax.training.rule import PLAIN, Rule
from ddjax.types import Model
from experiments.running.config import Experiment
from experiments.running.methods import PRUNE, Parsed
from experiments.running.rules import FOLDS, NESTED, asks_folds
from experiments.running.shared import chosen_baseline, network
from experiments.running.wrapping import NETWORKS
from experiments.sweeping.machines import Machine
from experiments.sweeping.work import GRADIENT, Common, Shape, Work, labels_of, training

STEP_AND_BACK = 3  # a loss of the network after its step is differentiated through that step


def on_all(cell: Experiment, parsed: Parsed, shape: Shape, machine: Machine) -> tuple[Work, tuple[Common, ...]] | None:
    """Training on the whole set, and again without the hold-out; None for rules that train in stages."""
    if parsed.rule in NESTED:
        return None
    recipe, model = _baseline(cell, shape)
    rule = make_rule(parsed.rule, recipe.epochs) if parsed.rule else PLAIN
    each, per_epoch = passes_of(rule)
    members = (cell.students or 1) * rule.nets

    def trained(n: int, watched: int) -> Work:
        return training(recipe, model, shape, n, recipe.epochs * (watched + per_epoch * n), members, machine, each)

    work = trained(shape.train, shape.train + shape.test)
    if cell.holdout:
        out = holdout_size(shape.train, cell.holdout)
        work = work.then(trained(shape.train - out, out))
    return work, (_folds(cell, recipe, model, shape, machine),) if asks_folds(parsed) else ()


def passes_of(rule: Rule) -> tuple[float, int]:
    """Forward passes of a network per image that is trained on, and per training image after each epoch."""
    each = rule.views * (GRADIENT * (STEP_AND_BACK if rule.meta else 1) + (1 if rule.guess else 0))
    return each, 1 + rule.stats_views if rule.epoch_end else 0


def before(cell: Experiment, wrapper: str, shape: Shape, machine: Machine) -> Common:
    """The networks of a wrapper before a distiller, which cells with the same labels and seed share."""
    recipe, model = _baseline(cell, shape)
    if wrapper == PRUNE:
        return _folds(cell, recipe, model, shape, machine)
    look, count, seen = WRAPPERS[wrapper].look, NETWORKS, shape.train
    young = young_recipe(None, cell.mirrored)
    if look is predict_plain:
        young, seen = short_recipe(shape.train, None), shape.train * (1 + cell.mirrored)
    elif look is diverted:
        count = ROUNDS
    work = training(young, model, shape, shape.train, seen, count, machine)
    key = ("networks", look.__name__, *labels_of(cell), cell.precision, cell.seed, model.spec)
    return Common("networks before", key, work, 0)


def _baseline(cell: Experiment, shape: Shape) -> tuple[Recipe, Model]:
    baseline = chosen_baseline(cell)
    recipe = protocols.adapted(baseline.recipe, flip=cell.mirrored, epochs=cell.epochs)
    return recipe, network(cell, baseline.network, shape.image, shape.classes)


def _folds(cell: Experiment, recipe: Recipe, model: Model, shape: Shape, machine: Machine) -> Common:
    """Cross-validated networks."""
    n = shape.train * (FOLDS - 1) // FOLDS
    work = training(recipe, model, shape, n, shape.train - n, FOLDS, machine)
    return Common("folds", ("folds", *labels_of(cell), cell.precision, cell.seed, recipe, model.spec), work, 0)
