"""Networks that judge training images: students of distilled images, networks of other folds, early-stopped networks.

Each function returns logits [s n k]: of s networks, for every training image.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddjax.data import to_space
from ddjax.denoising.telling import Report, begun
from ddjax.distilled import DistilledSet, check
from ddjax.evaluation.baselines import BASELINES
from ddjax.evaluation.protocols import Protocol, adapted
from ddjax.evaluation.rates import chosen_rates
from ddjax.evaluation.spaces import in_protocol_space, suited
from ddjax.execution.options import RunOptions
from ddjax.preprocess import Preprocess, one_hot
from ddjax.robust.held_out import held_out_probabilities
from ddjax.storage.checkpoints import Checkpoints
from ddjax.training import Examples, Recipe, fit, stacked_logits
from ddjax.training.checking import all_finite
from ddjax.types import Model, Params, TrainSet

YOUNG = 0.1  # share of the plain recipe's epochs: by then most right labels are learned and few wrong ones
_TINY = 1e-12


def predict_students(
    distilled: DistilledSet,
    train: TrainSet,
    *,
    model: Model,
    protocol: Protocol,
    students: int,
    epochs: int | None,
    flip: bool,
    seed: int,
    report: Report | None,
    checkpoints: Checkpoints | None = None,
) -> Float[np.ndarray, "s n k"]:
    """Logits of new students for `train` (in pixels); see `students_of` for the arguments."""
    options = {"protocol": protocol, "students": students, "epochs": epochs, "flip": flip, "seed": seed}
    params, transform = students_of(distilled, train, model=model, report=report, checkpoints=checkpoints, **options)
    return np.asarray(stacked_logits(model, params, to_space(train, transform).images))


def students_of(
    distilled: DistilledSet,
    train: TrainSet,
    *,
    model: Model,
    protocol: Protocol,
    students: int,
    epochs: int | None,
    flip: bool,
    seed: int,
    report: Report | None,
    checkpoints: Checkpoints | None = None,
) -> tuple[Params, Preprocess]:
    """Train new students on the distilled images alone.

    If the protocol has several rates, the one is used whose student agrees best with the given labels of 2000 training
    images. This search is the stage "rates", the training the stage "students".

    Args:
      distilled: the training set of the students.
      train: the images to judge, in pixels.
      model: the network.
      protocol: how students are trained.
      students: their number.
      epochs: replaces the protocol's number.
      flip: False removes flips from the augmentation.
      seed: of the students.
      report: receives the progress of the stages.
      checkpoints: of the trainings.

    Returns:
      The parameters, stacked, and the preprocessing of the images that the students can judge.

    Raises:
      Diverged: a student diverged.
    """
    recipe = adapted(protocol.recipe(len(distilled.images)), flip=flip, epochs=epochs)
    transform, plain = in_protocol_space(check(distilled), protocol, train)
    recipe, examples = suited(recipe, plain)
    rate = recipe.rate
    if protocol.use_step_size and distilled.step_size is not None:
        rate = float(distilled.step_size)
    if len(protocol.rates) > 1:
        search = RunOptions(begun(report, "rates", recipe.epochs), checkpoints)
        [rate] = chosen_rates(model, recipe, [examples], protocol, [train], transform, [seed], search)
    keys = jax.random.split(jax.random.key(seed), students)
    fitted = fit(
        model,
        recipe,
        examples,
        keys,
        rates=jnp.full(students, rate, jnp.float32),
        options=RunOptions(begun(report, "students", recipe.epochs), checkpoints).part("students"),
    )
    all_finite(fitted.params, fitted.loss, "students")
    return fitted.params, transform


def predict_cross_validated(
    train: TrainSet,
    *,
    model: Model,
    folds: int,
    epochs: int | None,
    flip: bool,
    seed: int,
    report: Report | None,
    checkpoints: Checkpoints | None = None,
) -> Float[np.ndarray, "1 n k"]:
    """Log probabilities of each image from plain training on the other folds; the stage "folds".

    The arguments are those of `predict_students`, but `train` is preprocessed.
    """
    recipe = plain_recipe(epochs, flip)
    probabilities = held_out_probabilities(
        model,
        recipe,
        given(train),
        jax.random.key(seed),
        folds=folds,
        seed=seed,
        options=RunOptions(begun(report, "folds", folds * recipe.epochs), checkpoints),
    )
    return np.log(np.maximum(probabilities, _TINY))[None].astype(np.float32)


def predict_early_stopped(
    train: TrainSet,
    *,
    model: Model,
    students: int,
    epochs: int | None,
    flip: bool,
    seed: int,
    report: Report | None,
    checkpoints: Checkpoints | None = None,
) -> Float[np.ndarray, "s n k"]:
    """Logits of networks that are trained briefly on all images with their given labels; the stage "networks".

    The arguments are those of `predict_students`, but `train` is preprocessed.
    """
    recipe, keys = young_recipe(epochs, flip), jax.random.split(jax.random.key(seed), students)
    options = RunOptions(begun(report, "networks", recipe.epochs), checkpoints)
    fitted = fit(model, recipe, given(train), keys, options=options)
    all_finite(fitted.params, fitted.loss, "early-stopped networks")
    return np.asarray(stacked_logits(model, fitted.params, train.images))


def given(train: TrainSet) -> Examples:
    """The images with their given labels, one-hot."""
    return Examples(train.images, one_hot(jnp.asarray(train.labels), train.num_classes))


def plain_recipe(epochs: int | None, flip: bool) -> Recipe:
    """The recipe of plain training on all images."""
    return adapted(BASELINES["B-PLAIN"].recipe, flip=flip, epochs=epochs)


def young_recipe(epochs: int | None, flip: bool) -> Recipe:
    """The plain recipe, stopped after the first tenth of its epochs."""
    recipe = plain_recipe(epochs, flip)
    return dataclasses.replace(recipe, epochs=max(1, round(YOUNG * recipe.epochs)))
