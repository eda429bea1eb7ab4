"""Work of training on the whole set: plainly, by a robust rule, or after networks that judge the labels."""

from typing import NamedTuple

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
from experiments.running.nested import held_count, second_epochs
from experiments.running.rules import FOLDS, NESTED, asks_folds
from experiments.running.shared import chosen_baseline, network
from experiments.running.wrapping import NETWORKS
from experiments.sweeping.machines import Machine
from experiments.sweeping.work import GRADIENT, Common, Shape, Work, labels_of, training

STEP_AND_BACK = 3  # a loss of the network after its step is differentiated through that step


class Stage(NamedTuple):
    """A training of all the networks of a student."""

    rule: Rule
    recipe: Recipe
    images: int
    nets: int


def on_all(cell: Experiment, parsed: Parsed, shape: Shape, machine: Machine) -> tuple[Work, tuple[Common, ...]]:
    """Training on the whole set, and again without the hold-out."""
    recipe, model = _baseline(cell, shape)

    def trained(n: int, watched: int) -> Work:
        work = Work()
        for stage in stages(parsed.rule, recipe, n):
            each, per_epoch = passes_of(stage.rule)
            members, seen = (cell.students or 1) * stage.nets, watched + per_epoch * stage.images
            more = stage.recipe.epochs * seen, members, machine, each
            work = work.then(training(stage.recipe, model, shape, stage.images, *more))
        return work

    work = trained(shape.train, shape.train + shape.test)
    if cell.holdout:
        out = holdout_size(shape.train, cell.holdout)
        work = work.then(trained(shape.train - out, out))
    return work, (_folds(cell, recipe, model, shape, machine),) if asks_folds(parsed) else ()


def stages(rule: str | None, recipe: Recipe, n: int) -> list[Stage]:
    """The trainings by a rule on n images; the choice of a width, which takes less than an epoch, is left out."""
    if rule not in NESTED:
        made = make_rule(rule, recipe.epochs) if rule else PLAIN
        return [Stage(made, recipe, n, made.nets)]
    last = second_epochs(recipe) if rule == "nested_coteaching" else 0
    first, kept = protocols.adapted(recipe, epochs=max(1, recipe.epochs - last)), n - held_count(n)
    ordered = make_rule("nested_dropout", first.epochs)
    if not last:
        return [Stage(ordered, first, kept, 1)]
    pair = make_rule(rule, last)
    return [Stage(ordered, first, kept, pair.nets), Stage(pair, protocols.adapted(recipe, epochs=last), n, pair.nets)]


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
    key = ("networks", look.__name__, *labels_of(cell), cell.mirrored, cell.precision, cell.seed, model.spec)
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
