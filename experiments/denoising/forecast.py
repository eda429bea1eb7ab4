"""How long the stages of a run of the denoiser will take, from shapes alone and the speed of the machine.

Nothing is trained or compiled. A prediction is good to a factor of about two.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ddjax.denoising import DETECTORS
from ddjax.denoising.distilling import WIDTH, configured, width_for
from ddjax.denoising.witnesses import plain_recipe, young_recipe
from ddjax.distillers import DISTILLERS
from ddjax.evaluation import PROTOCOLS
from ddjax.evaluation.protocols import adapted
from ddjax.evaluation.rates import HELD_OUT
from ddjax.models import build_sized
from ddjax.names import choose
from ddjax.robust.channel import PASSES
from experiments.running.config import Experiment
from experiments.sweeping.cost import copies
from experiments.sweeping.formulas import FORMULAS
from experiments.sweeping.machines import Machine
from experiments.sweeping.work import Shape, Work, training

PRECISION = "float32"
# what an exponential, a logarithm and sums over one logit cost beside matrix products, fitted: two cores fit the
# channel of 50,000 images and 100 classes in about 25 s
ELEMENT = 200


def forecast(
    settings: Any, methods: Sequence[str], options: Mapping[str, Any], flip: bool, shape: Shape, machine: Machine
) -> dict[str, float]:
    """Seconds that each stage will take.

    Args:
      settings: of `experiments.denoise`.
      methods: the method and the detectors beside which it is compared.
      options: fields of the method's configuration.
      flip: whether networks are trained on flipped images too.
      shape: of the images that are looked at.
      machine: what runs the stages.

    Returns:
      Seconds by the stage's name in `ddjax.denoise`; a stage that no formula is known for is missing.
    """
    width = settings.width or width_for(shape.image[0])
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
        else:
            method = choose(DISTILLERS, name, "method")
            config = configured(method, name, settings.ipc, options, shape.image[0], width, flip)
            model = method.model(config, shape.image, shape.classes) if method.model else judge
            if formula := FORMULAS.get(name):
                cell = Experiment(dataset=settings.data, method=name, ipc=settings.ipc)
                works["distil"], common = formula(cell, config, model, shape, machine)
                if common:
                    works["prepare"] = common[0].work
            m = settings.ipc * k * copies(name, config)
            recipe = adapted(how.recipe(m), flip=flip, epochs=settings.epochs)
            works["students"] = training(recipe, judge, shape, m, n, settings.students, machine)
            if len(how.rates) > 1:
                works["rates"] = training(recipe, judge, shape, m, min(HELD_OUT, n), len(how.rates), machine)
    compiling = machine.compile_s / len(works)
    return {
        stage: work.flop / machine.rate(PRECISION) + work.passes * machine.pass_s + compiling
        for stage, work in works.items()
    }


def compared(method: str, compare: bool) -> list[str]:
    """The method, and where it is compared the detectors that are not the method itself."""
    return [method, *(name for name in DETECTORS if compare and name != method)]
