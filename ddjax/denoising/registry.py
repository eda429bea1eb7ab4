"""The predictors by name. Every distiller is one: its students judge."""

import dataclasses
import time
from collections.abc import Mapping

import numpy as np

from ddjax import checks
from ddjax.data.validate import small_classes
from ddjax.denoising import prototypes
from ddjax.denoising.automatic import AUTO
from ddjax.denoising.combining import LEARNERS, corrected, ensemble, parts_of
from ddjax.denoising.distilling import WIDTH, configured, distilled_set, least_images
from ddjax.denoising.networks import predict_students
from ddjax.denoising.predictor import FEATURES, IMAGES, PREDICTIONS, Plan, Predictions, Predictor, Request
from ddjax.denoising.proximity import IN_FEATURE_SPACE
from ddjax.denoising.training import NETWORK, RULE, TRAINED, by_rule_in_folds, network_for, networks
from ddjax.distilled import DistilledSet
from ddjax.distillers import DISTILLERS
from ddjax.evaluation import protocols
from ddjax.models.sizes import auto_width
from ddjax.names import choose
from ddjax.types import Method, TrainSet


def distillation(name: str, method: Method) -> Predictor:
    """The predictor of a distiller: students that learn from the distilled images alone."""

    def config_of(data: TrainSet, plan: Plan) -> object:
        width = auto_width(tuple(data.images.shape[1:]), plan.width, WIDTH)
        return configured(method, name, plan.ipc, plan.options, width, plan.flip)

    def check(data: TrainSet, plan: Plan, class_names: tuple[str, ...]) -> None:
        if problem := small_classes(np.asarray(data.labels), class_names, least_images(name, config_of(data, plan))):
            raise ValueError(problem)

    def distil(request: Request) -> tuple[DistilledSet, float]:
        data, plan = request.data, request.plan
        config = config_of(data, plan)
        decides = {"data": request.decides["data"], "method": name, "config": dataclasses.asdict(config)}
        decides |= {each: getattr(plan, each) for each in ("seed", "network", "width", "depth", "protocol")}
        unfinished = request.stages.checkpoints("distilled", decides)
        model = network_for(data, plan)
        return request.stages.distilled(
            decides, lambda: distilled_set(method, config, data, model, plan.seed, request.report, unfinished)
        )

    def predict(request: Request) -> Predictions:
        plan = request.plan
        made, seconds = distil(request)
        start = time.monotonic()
        protocol = protocols.named(plan.protocol)
        logits = predict_students(made, request.data, protocol, networks(request, plan.students, plan.epochs))
        return Predictions(logits, seconds={"distil": seconds, "students": time.monotonic() - start}, distilled=made)

    decides = ("ipc", "options", "students", "epochs", *NETWORK)
    return Predictor(
        predict, (IMAGES,), decides, check, distilled=lambda request: distil(request)[0], config=method.config
    )


PREDICTORS: Mapping[str, Predictor] = {"auto": AUTO, **TRAINED, **IN_FEATURE_SPACE, "prototypes": prototypes.PREDICTOR}

# "full" distils nothing: its students would train on the labels that they judge
_REDUCING: Mapping[str, Method] = {name: method for name, method in DISTILLERS.items() if name != "full"}

# the method for each kind of input, if none is named
DEFAULTS: Mapping[str, str] = {IMAGES: "auto", FEATURES: "auto", PREDICTIONS: "pred_probs"}


def distiller(name: str) -> Method | None:
    """The distiller of this name, or None for another predictor or a combination.

    Raises:
      ValueError: the name is unknown.
    """
    if name in PREDICTORS or any(mark in name for mark in "@*+"):
        return None
    found = choose(_REDUCING, name, "method")
    return found if isinstance(found, Method) else None


def choose_predictor(name: str) -> Predictor:
    """A predictor by its name.

    Args:
      name: of a predictor or a distiller, module:ATTRIBUTE of one, or a combination (see `ddjax.denoising.combining`).

    Raises:
      ValueError: the name is unknown, or that of another object.

    Example:
      >>> choose_predictor("plain*2+ridge").takes
      ('images',)
    """
    parts = parts_of(name)
    if len(parts) > 1 or parts[0].count > 1:
        return ensemble(parts, [choose_predictor(part.name) for part in parts])
    alone = parts[0].name
    base, _, other = alone.partition("@")
    other = other.removeprefix("(").removesuffix(")")
    if other == "folds":
        rules = {"plain", *(each for each, predictor in TRAINED.items() if predictor is RULE)}
        choose(dict.fromkeys(rules), base, "rule")
        return by_rule_in_folds(base)
    if other:
        choose(LEARNERS, base, "method that learns from soft labels")
        return corrected(base, other, choose_predictor(other))
    found = choose({**PREDICTORS, **_REDUCING}, alone, "method")
    if isinstance(found, Predictor):
        return found
    checks.kind(found, Method, f"method {alone!r}", "A Predictor is taken, too")
    return distillation(alone, found)
