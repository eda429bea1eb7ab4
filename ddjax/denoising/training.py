"""Predictors that are networks trained on the given labels of all images, plainly or by a robust rule."""

from collections.abc import Callable
from typing import Annotated, Any

import jax
import numpy as np
from jaxtyping import Array, Float

from ddjax import preprocess
from ddjax.data import to_space
from ddjax.denoising import costs
from ddjax.denoising.costs import Cost
from ddjax.denoising.distilling import WIDTH
from ddjax.denoising.judging import need_cleanlab, through_cleanlab
from ddjax.denoising.networks import (
    Networks,
    log_predictions,
    plain_recipe,
    predict_early_stopped,
    predict_plain,
    short_recipe,
    trained_by,
    young_recipe,
)
from ddjax.denoising.predictor import IMAGES, FeatureSet, Plan, Predictions, Predictor, Request
from ddjax.evaluation import protocols
from ddjax.models import build_sized
from ddjax.ranges import Range, check
from ddjax.robust import RULES, make_rule
from ddjax.robust.held_out import held_out_probabilities
from ddjax.robust.rules import early
from ddjax.run import SPACE
from ddjax.training import Fit, Recipe, examples_of
from ddjax.training.rule import PLAIN, Rule
from ddjax.types import Model, TrainSet

NETWORK = ("protocol", "network", "width", "depth", "flip", "seed")  # what decides any network and its training
SHORT = ("plain_epochs", *NETWORK)
_TINY = 1e-12


def network_for(data: TrainSet, plan: Plan) -> Model:
    """The network that judges images: that of the plan, or of its protocol."""
    name = plan.network or protocols.named(plan.protocol).network
    shape = tuple(data.images.shape[1:])
    return build_sized(name, shape, data.num_classes, width=plan.width, depth=plan.depth, usual=WIDTH)


def networks(request: Request, count: int, epochs: int | None) -> Networks:
    """The networks of a predictor."""
    plan = request.plan
    return Networks(
        network_for(request.data, plan), plan.seed, count, epochs, plan.flip, request.report, request.checkpoints
    )


def preprocessed(data: TrainSet) -> TrainSet:
    """The examples in the space of plain training."""
    return to_space(data, preprocess.fit(SPACE, data.images), "auto")


def trained(
    request: Request,
    train: TrainSet,
    targets: Float[Array, "n k"] | None = None,
    rule: Rule = PLAIN,
    data: Any = None,
    count: int = 1,
) -> tuple[Fit, Recipe]:
    """Networks trained for a short time with augmentation; the stage "networks".

    Args:
      request: has the plan.
      train: preprocessed images.
      targets: soft labels; None takes the given ones.
      rule: how they are trained.
      data: the rule's data.
      count: number of networks.

    Returns:
      The networks, and their recipe.

    Raises:
      Diverged: a network diverged.
    """
    how = networks(request, count, request.plan.plain_epochs)
    recipe, examples = short_recipe(len(train.labels), how.epochs), examples_of(train)
    if targets is not None:
        examples = examples._replace(targets=targets)
    return trained_by(how, recipe, examples, rule, data), recipe


def _in_folds(request: Request, recipe: Recipe, rule: Rule = PLAIN) -> Predictions:
    """Predictions for each image by a network of the other folds; the stage "folds"."""
    train, plan = preprocessed(request.data), request.plan
    how = networks(request, 1, recipe.epochs)
    options = how.begin("folds", plan.folds * recipe.epochs)
    probabilities = held_out_probabilities(
        how.model,
        recipe,
        examples_of(train),
        jax.random.key(plan.seed),
        folds=plan.folds,
        seed=plan.seed,
        rule=rule,
        options=options,
    )
    return Predictions(_logs(probabilities)[None])


def _folds(request: Request) -> Predictions:
    return _in_folds(request, plain_recipe(request.plan.plain_epochs, request.plan.flip))


def _young(request: Request) -> Predictions:
    how = networks(request, request.plan.students, request.plan.plain_epochs)
    return Predictions(predict_early_stopped(preprocessed(request.data), how))


def _plain(request: Request) -> Predictions:
    how = networks(request, 1, request.plan.plain_epochs)
    return Predictions(predict_plain(preprocessed(request.data), how))


def _stopped(request: Request) -> Predictions:
    train, plan = preprocessed(request.data), request.plan
    parts = early.parts(np.asarray(train.labels), plan.folds, plan.seed)
    fitted, _ = trained(request, train, rule=early.early_stopped(), data=parts, count=plan.folds)
    held = 1 - np.asarray(parts.train + parts.stop)
    probabilities = np.einsum("fn,fnk->nk", held, np.asarray(fitted.findings.relabel))
    return Predictions(_logs(probabilities)[None])


def _by_rule(request: Request) -> Predictions:
    train, name = preprocessed(request.data), request.plan.method
    rule = make_rule(name, short_recipe(len(train.labels), request.plan.plain_epochs).epochs)
    fitted, _ = trained(request, train, rule=rule)
    scores = {name: np.asarray(fitted.findings.suspicion[0], np.float32)}
    if name in ("aum", "mean_margin"):
        return Predictions(_logs(fitted.findings.relabel), scores)
    return Predictions(log_predictions(fitted, train.images, request.plan.flip), scores)


def _logs(probabilities: Any) -> Float[np.ndarray, "*s n k"]:
    return np.log(np.maximum(np.asarray(probabilities), _TINY)).astype(np.float32)


def enough_for_folds(data: TrainSet | FeatureSet, plan: Plan, class_names: tuple[str, ...]) -> None:
    """Raise a ValueError if there are more folds than examples."""
    check(plan.folds, Annotated[int, Range(2, len(data.labels))], "folds")


def _check_cleanlab(data: TrainSet, plan: Plan, class_names: tuple[str, ...]) -> None:
    enough_for_folds(data, plan, class_names)
    need_cleanlab()


def cost_of_training(data: TrainSet, plan: Plan) -> Cost:
    """The cost of `trained` and of predictions for all images."""
    epochs = short_recipe(len(data.labels), plan.plain_epochs).epochs
    return costs.training(network_for(data, plan), data, epochs, 1 + plan.flip)


def _cost_of_rule(data: TrainSet, plan: Plan) -> Cost:
    rule = make_rule(plan.method, short_recipe(len(data.labels), plan.plain_epochs).epochs)
    return cost_of_training(data, plan).times(rule.nets * rule.views)


def _cost_of_stopped(data: TrainSet, plan: Plan) -> Cost:
    epochs = short_recipe(len(data.labels), plan.plain_epochs).epochs
    return costs.training(network_for(data, plan), data, epochs, epochs).times(plan.folds)


def _cost_of_folds(data: TrainSet, plan: Plan) -> Cost:
    return cost_of_training(data, plan).times(plan.folds - 1)


def _cost_of_cleanlab(data: TrainSet, plan: Plan) -> Cost:
    epochs = plain_recipe(plan.plain_epochs, plan.flip).epochs
    return costs.training(network_for(data, plan), data, epochs).times(plan.folds - 1)


def _cost_of_young(data: TrainSet, plan: Plan) -> Cost:
    epochs = young_recipe(plan.plain_epochs, plan.flip).epochs
    return costs.training(network_for(data, plan), data, epochs, 1).times(plan.students)


_FOLDS = (*SHORT, "folds")


def _trainer(
    stage: str, predict: Callable[[Request], Predictions], decides: tuple[str, ...], cost: Any, **more: Any
) -> Predictor:
    """A predictor that trains networks on images."""
    more = {"check": enough_for_folds if "folds" in decides else None} | more
    return Predictor(predict, (IMAGES,), decides, cost=cost, stage=stage, **more)


RULE = _trainer("networks", _by_rule, SHORT, _cost_of_rule)
TRAINED = {name: RULE for name, published in RULES.items() if not published.data} | {
    "cleanlab": _trainer("folds", _folds, _FOLDS, _cost_of_cleanlab, check=_check_cleanlab, judge=through_cleanlab),
    "small_loss": _trainer("networks", _young, (*SHORT, "students"), _cost_of_young),
    "plain": _trainer("networks", _plain, SHORT, cost_of_training),
    "cross_validated": _trainer("networks", _stopped, _FOLDS, _cost_of_stopped),
}


def by_rule_in_folds(name: str) -> Predictor:
    """Cross-validated training by a robust rule."""

    def predict(request: Request) -> Predictions:
        recipe = short_recipe(len(request.data.labels), request.plan.plain_epochs)
        return _in_folds(request, recipe, PLAIN if name == "plain" else make_rule(name, recipe.epochs))

    return _trainer("folds", predict, _FOLDS, _cost_of_folds)
