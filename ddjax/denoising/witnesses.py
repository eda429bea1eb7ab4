"""Who says what a training image shows: students of distilled images, networks of other folds, or young networks.

Each is a function that returns logits [s n k] of every training image, s networks apart.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddjax.denoising.telling import Report, begun
from ddjax.distilled import DistilledSet, check
from ddjax.evaluation.baselines import BASELINES
from ddjax.evaluation.protocols import Protocol, upright
from ddjax.evaluation.spaces import in_protocol_space, in_space, suited
from ddjax.evaluation.students import chosen_rates, rescaled
from ddjax.preprocess import Preprocess, one_hot
from ddjax.robust.held_out import held_out_probabilities
from ddjax.storage.checkpoints import Checkpoints
from ddjax.training import Examples, Recipe, fit, stacked_logits
from ddjax.training.checking import all_finite
from ddjax.types import Model, Params, TrainSet

YOUNG = 0.1  # of the plain recipe's epochs: most right labels are learned by then, and few wrong ones
_TINY = 1e-12


def predict_students(
    distilled: DistilledSet,
    train: TrainSet,
    *,
    model: Model,
    protocol: Protocol,
    students: int,
    epochs: int | None,
    mirror: bool,
    seed: int,
    report: Report | None,
    checkpoints: Checkpoints | None = None,
) -> Float[np.ndarray, "s n k"]:
    """Fresh students that saw the distilled images alone; `train` (pixels) is what they are asked about."""
    options = {"protocol": protocol, "students": students, "epochs": epochs, "mirror": mirror, "seed": seed}
    params, transform = students_of(distilled, train, model=model, report=report, checkpoints=checkpoints, **options)
    return np.asarray(stacked_logits(model, params, in_space(train, transform)))


def students_of(
    distilled: DistilledSet,
    train: TrainSet,
    *,
    model: Model,
    protocol: Protocol,
    students: int,
    epochs: int | None,
    mirror: bool,
    seed: int,
    report: Report | None,
    checkpoints: Checkpoints | None = None,
) -> tuple[Params, Preprocess]:
    """Parameters of students trained on the distilled images, stacked, and the transform of what they look at.

    Where the protocol has several rates, the one is taken whose student agrees best with the given labels of 2000
    training images. `report` is told of this search as the stage "rates", of the training as the stage "students".
    """
    recipe = shortened(protocol.recipe(len(distilled.images)), epochs, mirror)
    transform, plain = in_protocol_space(check(distilled), protocol, train)
    recipe, examples = suited(recipe, plain)
    rate = recipe.rate
    if protocol.use_step_size and distilled.step_size is not None:
        rate = float(distilled.step_size)
    if len(protocol.rates) > 1:
        search = begun(report, "rates", recipe.epochs)
        [rate] = chosen_rates(
            model, recipe, [examples], protocol, [train], transform, [seed], "auto", search, checkpoints
        )
    keys = jax.random.split(jax.random.key(seed), students)
    fitted = fit(
        model,
        recipe,
        examples,
        keys,
        rates=jnp.full(students, rate, jnp.float32),
        report=begun(report, "students", recipe.epochs),
        checkpoints=checkpoints and checkpoints.part("students"),
    )
    all_finite(fitted.params, fitted.loss, "students")
    return fitted.params, transform


def predict_cross_validated(
    train: TrainSet,
    *,
    model: Model,
    folds: int,
    epochs: int | None,
    mirror: bool,
    seed: int,
    report: Report | None,
    checkpoints: Checkpoints | None = None,
) -> Float[np.ndarray, "1 n k"]:
    """For each image the network of plain training on the other folds, the stage "folds"; `train` is in its space."""
    recipe = plain_recipe(epochs, mirror)
    probabilities = held_out_probabilities(
        model,
        recipe,
        given(train),
        jax.random.key(seed),
        folds=folds,
        seed=seed,
        report=begun(report, "folds", folds * recipe.epochs),
        checkpoints=checkpoints,
    )
    return np.log(np.maximum(probabilities, _TINY))[None].astype(np.float32)


def predict_early_stopped(
    train: TrainSet,
    *,
    model: Model,
    students: int,
    epochs: int | None,
    mirror: bool,
    seed: int,
    report: Report | None,
    checkpoints: Checkpoints | None = None,
) -> Float[np.ndarray, "s n k"]:
    """Networks that trained on all images with their given labels, briefly: the stage "networks"."""
    recipe, keys = young_recipe(epochs, mirror), jax.random.split(jax.random.key(seed), students)
    told = begun(report, "networks", recipe.epochs)
    fitted = fit(model, recipe, given(train), keys, report=told, checkpoints=checkpoints)
    all_finite(fitted.params, fitted.loss, "young networks")
    return np.asarray(stacked_logits(model, fitted.params, train.images))


def given(train: TrainSet) -> Examples:
    """The images with one-hot given labels."""
    return Examples(train.images, one_hot(jnp.asarray(train.labels), train.num_classes))


def plain_recipe(epochs: int | None, mirror: bool) -> Recipe:
    """The recipe of plain training on everything."""
    return shortened(BASELINES["B-PLAIN"].recipe, epochs, mirror)


def young_recipe(epochs: int | None, mirror: bool) -> Recipe:
    """The first tenth of the plain recipe's epochs."""
    recipe = plain_recipe(epochs, mirror)
    return dataclasses.replace(recipe, epochs=max(1, round(YOUNG * recipe.epochs)))


def shortened(recipe: Recipe, epochs: int | None, mirror: bool) -> Recipe:
    """The recipe over another number of epochs, and without mirror images where they mean something else."""
    recipe = recipe if mirror else upright(recipe)
    return recipe if epochs is None else rescaled(recipe, epochs)
