"""Predicted seconds of the denoiser's stages, from shapes and the speed of the machine.

Nothing is trained or compiled. Predictions are accurate to a factor of about two.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ddjax.denoising.asking import FEATURES, IMAGES
from ddjax.denoising.distilling import WIDTH, configured, width_for
from ddjax.denoising.judging import PASSES
from ddjax.denoising.witnesses import plain_recipe, young_recipe
from ddjax.distillers import DISTILLERS
from ddjax.evaluation import PROTOCOLS
from ddjax.evaluation.protocols import adapted
from ddjax.evaluation.rates import HELD_OUT
from ddjax.models import build_sized
from ddjax.names import choose
from experiments.running.config import Experiment
from experiments.sweeping.formulas import FORMULAS
from experiments.sweeping.machines import Machine
from experiments.sweeping.operations import copies
from experiments.sweeping.work import Shape, Work, training

COMPARED = {IMAGES: ("cleanlab", "small_loss"), FEATURES: ("ridge", "knn")}  # beside the method, with known truth
PRECISION = "float32"
# Operations per logit for exp, log and sums. Fitted: two busy cores judge 50,000 images of 100 classes in about 25 s.
ELEMENT = 200


def forecast(
    settings: Any, methods: Sequence[str], options: Mapping[str, Any], flip: bool, shape: Shape, machine: Machine
) -> dict[str, float]:
    """Predict the seconds of each stage.

    Args:
      settings: those of `experiments.denoise`.
      methods: the method and the detectors that it is compared with.
      options: fields of the method's configuration.
      flip: whether training flips images.
      shape: shape of the image set.
      machine: machine that runs the stages.

    Returns:
      Seconds by the name of the stage in `ddjax.denoise`, without stages that have no formula.
    """
    width = width_for(shape.image, settings.width)
    size = {"width": settings.width, "depth": settings.depth, "usual": WIDTH}
    how = choose(PROTOCOLS, settings.protocol, "protocol")
    judge = build_sized(settings.network or how.network, shape.image, shape.classes, **size)
    n, k = shape.train, shape.classes
    works = {"judge": Work(PASSES * n * k * (2 * k + ELEMENT))}
    for name in methods:
        if name == "cleanlab":
            recipe, held = plain_recipe(settings.plain_epochs, flip), n / settings.folds
            one = training(recipe, judge, shape, round(n - held), held, 1, machine)
            works["folds"] = Work(settings.folds * one.flop, settings.folds * one.passes)
        elif name == "small_loss":
            recipe = young_recipe(settings.plain_epochs, flip)
            works["networks"] = training(recipe, judge, shape, n, n, settings.students, machine)
        elif name in DISTILLERS or ":" in name:
            method = choose(DISTILLERS, name, "method")
            config = configured(method, name, settings.ipc, options, width, flip)
            model = method.model(config, shape.image, shape.classes) if method.model else judge
            if formula := FORMULAS.get(name):
                cell = Experiment(dataset=settings.data, method=name, ipc=settings.ipc)
                works["distil"], common = formula(cell, config, model, shape, machine)
                if common:
                    works["prepare"] = common[0].work
            m = settings.ipc * k * copies(name, config, shape.image)
            recipe = adapted(how.recipe(m), flip=flip, epochs=settings.epochs)
            works["students"] = training(recipe, judge, shape, m, n, settings.students, machine)
            if len(how.rates) > 1:
                works["rates"] = training(recipe, judge, shape, m, min(HELD_OUT, n), len(how.rates), machine)
    compiling = machine.compile_s / len(works)
    return {
        stage: work.flop / machine.rate(PRECISION) + work.passes * machine.pass_s + compiling
        for stage, work in works.items()
    }


def compared(method: str, kind: str) -> list[str]:
    """The method, and the other detectors for this kind of input."""
    return [method, *(name for name in COMPARED.get(kind, ()) if name != method)]
