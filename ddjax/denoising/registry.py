"""The witnesses by name. Every distiller is one: its students judge."""

import dataclasses
import time
from collections.abc import Mapping

import numpy as np

from ddjax.data.validate import small_classes
from ddjax.denoising import prototypes
from ddjax.denoising.asking import FEATURES, IMAGES, PREDICTIONS, Plan, Question, Testimony, Witness
from ddjax.denoising.automatic import AUTO
from ddjax.denoising.combining import LEARNERS, corrected, ensemble, parts_of
from ddjax.denoising.distilling import configured, distilled_set, least_images, width_for
from ddjax.denoising.proximity import IN_FEATURE_SPACE
from ddjax.denoising.training import NETWORK, RULE, TRAINED, by_rule_in_folds, network_for, networks
from ddjax.denoising.witnesses import predict_students
from ddjax.distilled import DistilledSet
from ddjax.distillers import DISTILLERS
from ddjax.evaluation import PROTOCOLS
from ddjax.names import choose
from ddjax.types import Method, TrainSet


def distillation(name: str, method: Method) -> Witness:
    """The witness of a distiller: students that learn from the distilled images alone."""

    def config_of(data: TrainSet, plan: Plan) -> object:
        width = width_for(tuple(data.images.shape[1:]), plan.width)
        return configured(method, name, plan.ipc, plan.options, width, plan.flip)

    def check(data: TrainSet, plan: Plan, class_names: tuple[str, ...]) -> None:
        if problem := small_classes(np.asarray(data.labels), class_names, least_images(name, config_of(data, plan))):
            raise ValueError(problem)

    def distil(question: Question) -> tuple[DistilledSet, float]:
        data, plan = question.data, question.plan
        config = config_of(data, plan)
        decides = {"data": question.decides["data"], "method": name, "config": dataclasses.asdict(config)}
        decides |= {each: getattr(plan, each) for each in ("seed", "network", "width", "depth", "protocol")}
        unfinished = question.stages.checkpoints("distilled", decides)
        model = network_for(data, plan)
        return question.stages.distilled(
            decides, lambda: distilled_set(method, config, data, model, plan.seed, question.report, unfinished)
        )

    def ask(question: Question) -> Testimony:
        plan = question.plan
        made, seconds = distil(question)
        start = time.monotonic()
        protocol = choose(PROTOCOLS, plan.protocol, "protocol")
        logits = predict_students(made, question.data, protocol, networks(question, plan.students, plan.epochs))
        return Testimony(logits, seconds={"distil": seconds, "students": time.monotonic() - start}, distilled=made)

    decides = ("ipc", "options", "students", "epochs", *NETWORK)
    return Witness(ask, (IMAGES,), decides, check, distilled=lambda question: distil(question)[0], config=method.config)


WITNESSES: Mapping[str, Witness] = {"auto": AUTO, **TRAINED, **IN_FEATURE_SPACE, "prototypes": prototypes.WITNESS}


# the method for each kind of input, if none is named
DEFAULTS: Mapping[str, str] = {IMAGES: "auto", FEATURES: "auto", PREDICTIONS: "pred_probs"}


def choose_witness(name: str) -> Witness:
    """A witness by its name.

    Args:
      name: of a witness or a distiller, module:ATTRIBUTE of one, or a combination (see `ddjax.denoising.combining`).

    Raises:
      ValueError: the name is unknown.

    Example:
      >>> choose_witness("plain*2+ridge").takes
      ('images',)
    """
    parts = parts_of(name)
    if len(parts) > 1 or parts[0].count > 1:
        return ensemble(parts, [choose_witness(part.name) for part in parts])
    alone = parts[0].name
    base, _, other = alone.partition("@")
    other = other.removeprefix("(").removesuffix(")")
    if other == "folds":
        rules = {"plain", *(each for each, witness in TRAINED.items() if witness is RULE)}
        choose(dict.fromkeys(rules), base, "rule")
        return by_rule_in_folds(base)
    if other:
        choose(LEARNERS, base, "method that learns from soft labels")
        return corrected(base, other, choose_witness(other))
    found = choose({**WITNESSES, **DISTILLERS}, alone, "method")
    return found if isinstance(found, Witness) else distillation(alone, found)
