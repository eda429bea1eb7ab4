"""The witnesses by name. Every distiller is one: its students judge."""

import dataclasses
import time
from collections.abc import Mapping

import numpy as np

from ddjax import preprocess
from ddjax.data import to_space
from ddjax.data.validate import small_classes
from ddjax.denoising import prototypes
from ddjax.denoising.asking import FEATURES, IMAGES, PREDICTIONS, FeatureSet, Plan, Question, Testimony, Witness
from ddjax.denoising.distilling import WIDTH, configured, distilled_set, least_images, width_for
from ddjax.denoising.judging import through_cleanlab
from ddjax.denoising.witnesses import predict_cross_validated, predict_early_stopped, predict_students
from ddjax.distilled import DistilledSet
from ddjax.distillers import DISTILLERS
from ddjax.evaluation import PROTOCOLS
from ddjax.models import build_sized
from ddjax.names import choose
from ddjax.ranges import check_int
from ddjax.run import SPACE
from ddjax.types import Method, Model, TrainSet

NETWORK = ("protocol", "network", "width", "depth", "flip", "seed")  # what decides any network and its training


def network_for(data: TrainSet, plan: Plan) -> Model:
    """The network that judges images: that of the plan, or of its protocol."""
    name = plan.network or choose(PROTOCOLS, plan.protocol, "protocol").network
    shape = tuple(data.images.shape[1:])
    return build_sized(name, shape, data.num_classes, width=plan.width, depth=plan.depth, usual=WIDTH)


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
        logits = predict_students(
            made,
            question.data,
            model=network_for(question.data, plan),
            protocol=choose(PROTOCOLS, plan.protocol, "protocol"),
            students=plan.students,
            epochs=plan.epochs,
            flip=plan.flip,
            seed=plan.seed,
            report=question.report,
            checkpoints=question.checkpoints,
        )
        return Testimony(logits, seconds={"distil": seconds, "students": time.monotonic() - start}, distilled=made)

    decides = ("ipc", "options", "students", "epochs", *NETWORK)
    return Witness(ask, (IMAGES,), decides, check, distilled=lambda question: distil(question)[0])


def _folds(question: Question) -> Testimony:
    start, plan = time.monotonic(), question.plan
    logits = predict_cross_validated(**_plain(question), folds=plan.folds)
    return Testimony(logits, seconds={"folds": time.monotonic() - start})


def _young(question: Question) -> Testimony:
    start, plan = time.monotonic(), question.plan
    logits = predict_early_stopped(**_plain(question), students=plan.students)
    return Testimony(logits, seconds={"networks": time.monotonic() - start})


def _plain(question: Question) -> dict:
    """Arguments of a plain training on all images."""
    data, plan = question.data, question.plan
    return {
        "train": to_space(data, preprocess.fit(SPACE, data.images)),
        "model": network_for(data, plan),
        "epochs": plan.plain_epochs,
        "flip": plan.flip,
        "seed": plan.seed,
        "report": question.report,
        "checkpoints": question.checkpoints,
    }


def _enough_for_folds(data: TrainSet | FeatureSet, plan: Plan, class_names: tuple[str, ...]) -> None:
    check_int(plan.folds, "folds", 2, len(data.labels))


WITNESSES: Mapping[str, Witness] = {
    "cleanlab": Witness(
        _folds, (IMAGES,), ("plain_epochs", "folds", *NETWORK), _enough_for_folds, judge=through_cleanlab
    ),
    "prototypes": prototypes.WITNESS,
    "small_loss": Witness(_young, (IMAGES,), ("plain_epochs", "students", *NETWORK)),
}


# the method for each kind of input, if none is named
DEFAULTS: Mapping[str, str] = {IMAGES: "dance", FEATURES: "prototypes", PREDICTIONS: "pred_probs"}


def choose_witness(name: str) -> Witness:
    """A witness by its name, the name of a distiller, or module:ATTRIBUTE of a distiller or a witness.

    Raises:
      ValueError: the name is unknown.
    """
    found = choose({**WITNESSES, **DISTILLERS}, name, "method")
    return found if isinstance(found, Witness) else distillation(name, found)
