"""Predicted seconds of the denoiser's stages, from shapes and the speed of the machine.

Nothing is trained or compiled. Predictions are accurate to a factor of about two.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ddjax.denoising.costs import Cost, judging, seconds
from ddjax.denoising.distilling import WIDTH, configured
from ddjax.denoising.predictor import FEATURES, IMAGES, Plan
from ddjax.denoising.registry import choose_predictor, distiller
from ddjax.evaluation import protocols
from ddjax.evaluation.rates import SAMPLE
from ddjax.models import build_sized
from ddjax.models.sizes import auto_width
from ddjax.types import TrainSet
from experiments.running.config import Experiment
from experiments.sweeping.formulas import FORMULAS
from experiments.sweeping.machines import Machine
from experiments.sweeping.operations import copies
from experiments.sweeping.work import Shape, Work, training

COMPARED = {IMAGES: ("cleanlab", "small_loss"), FEATURES: ("ridge", "knn")}  # beside the method, with known truth
PRECISION = "float32"


def forecast(
    settings: Any, methods: Sequence[str], options: Mapping[str, Any], flip: bool, shape: Shape, machine: Machine
) -> dict[str, float | None]:
    """Predict the seconds of each stage.

    Args:
      settings: those of `experiments.denoise`.
      methods: the method and the detectors that it is compared with.
      options: fields of the method's configuration.
      flip: whether training flips images.
      shape: shape of the image set.
      machine: machine that runs the stages.

    Returns:
      Seconds by the name of the stage in `ddjax.denoise`, without stages that have no formula; None for a stage of two
      methods.
    """
    width = auto_width(shape.image, settings.width, WIDTH)
    size = {"width": settings.width, "depth": settings.depth, "usual": WIDTH}
    how = protocols.named(settings.protocol)
    judge = build_sized(settings.network or how.network, shape.image, shape.classes, **size)
    n, k = shape.train, shape.classes
    named = ("students", "protocol", "epochs", "plain_epochs", "network", "width", "depth", "folds")
    plan = Plan("", **{field: getattr(settings, field) for field in named}, flip=flip)
    empty = np.zeros((), np.uint8)
    labels = np.broadcast_to(empty, n)
    data = TrainSet(images=np.broadcast_to(empty, (n, *shape.image)), labels=labels, ids=labels, num_classes=k)
    expected: dict[str, float | None] = {"judge": seconds(Cost(programs=1) + judging(n, k))}
    works: dict[str, Work] = {}
    for name in methods:
        predictor = choose_predictor(name)
        if predictor.cost and predictor.stage:
            spent = seconds(predictor.cost(data, dataclasses.replace(plan, method=name)))
            expected[predictor.stage] = None if predictor.stage in expected else spent
        elif method := distiller(name):
            config = configured(method, name, settings.ipc, options, width, flip)
            model = method.model(config, shape.image, shape.classes) if method.model else judge
            if formula := FORMULAS.get(name):
                cell = Experiment(dataset=settings.data, method=name, ipc=settings.ipc)
                works["distil"], common = formula(cell, config, model, shape, machine)
                if common:
                    works["prepare"] = common[0].work
            m = settings.ipc * k * copies(name, config, shape.image)
            recipe = protocols.adapted(how.recipe(m), flip=flip, epochs=settings.epochs)
            works["students"] = training(recipe, judge, shape, m, n, settings.students, machine)
            if how.rates:
                works["rates"] = training(recipe, judge, shape, m, min(SAMPLE, n), len(how.rates), machine)
    compiling = machine.compile_s / max(1, len(works))
    return expected | {
        stage: work.flop / machine.rate(PRECISION) + work.passes * machine.pass_s + compiling
        for stage, work in works.items()
    }


def compared(method: str, kind: str) -> list[str]:
    """The method, and the other detectors for this kind of input."""
    return [method, *(name for name in COMPARED.get(kind, ()) if name != method)]
