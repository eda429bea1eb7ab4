"""Who says what a training image shows: students of distilled images, networks of other folds, or young networks.

Each is a function that returns logits [s n k] of every training image, s networks apart.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddjax.checkpoints import Checkpoints
from ddjax.distilled import DistilledSet, check
from ddjax.evaluation.baselines import BASELINES
from ddjax.evaluation.protocols import Protocol, upright
from ddjax.evaluation.students import chosen_rates, in_protocol_space, in_space, rescaled, suited
from ddjax.preprocess import Preprocess, one_hot
from ddjax.robust.held_out import held_out_probabilities
from ddjax.training import Examples, Recipe, fit, predict
from ddjax.training.checking import all_finite
from ddjax.training.fit import Report
from ddjax.types import Model, Params, TrainSet

YOUNG = 0.1  # of the plain recipe's epochs: most right labels are learned by then, and few wrong ones
_TINY = 1e-12


def students_say(
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
    return said(model, params, in_space(train, transform))


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
    training images.
    """
    recipe = shortened(protocol.recipe(len(distilled.images)), epochs, mirror)
    transform, plain = in_protocol_space(check(distilled), protocol, train)
    recipe, examples = suited(recipe, plain)
    rate = recipe.rate
    if protocol.use_step_size and distilled.step_size is not None:
        rate = float(distilled.step_size)
    if len(protocol.rates) > 1:
        [rate] = chosen_rates(model, recipe, [examples], protocol, [train], transform, [seed], "auto", checkpoints)
    keys = jax.random.split(jax.random.key(seed), students)
    fitted = fit(
        model,
        recipe,
        examples,
        keys,
        rates=jnp.full(students, rate, jnp.float32),
        report=report,
        checkpoints=checkpoints and checkpoints.part("students"),
    )
    all_finite(fitted.params, fitted.loss, "students")
    return fitted.params, transform


def folds_say(
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
    """For each image the network of plain training on the other folds; `train` is in its space."""
    probabilities = held_out_probabilities(
        model,
        plain_recipe(epochs, mirror),
        given(train),
        jax.random.key(seed),
        folds=folds,
        seed=seed,
        report=report,
        checkpoints=checkpoints,
    )
    return np.log(np.maximum(probabilities, _TINY))[None].astype(np.float32)


def young_say(
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
    """Networks that trained on all images with their given labels, for a tenth of the plain recipe's epochs."""
    recipe = plain_recipe(epochs, mirror)
    recipe = dataclasses.replace(recipe, epochs=max(1, round(YOUNG * recipe.epochs)))
    keys = jax.random.split(jax.random.key(seed), students)
    fitted = fit(model, recipe, given(train), keys, report=report, checkpoints=checkpoints)
    all_finite(fitted.params, fitted.loss, "young networks")
    return said(model, fitted.params, train.images)


def said(model: Model, params: Any, images: Array) -> Float[np.ndarray, "s n k"]:
    """The logits of stacked networks, one after the other."""
    say = jax.jit(lambda stacked, images: jax.lax.map(lambda one: predict(model, one, images), stacked))
    return np.asarray(say(params, images))


def given(train: TrainSet) -> Examples:
    """The images with one-hot given labels."""
    return Examples(train.images, one_hot(jnp.asarray(train.labels), train.num_classes))


def plain_recipe(epochs: int | None, mirror: bool) -> Recipe:
    """The recipe of plain training on everything."""
    return shortened(BASELINES["B-PLAIN"].recipe, epochs, mirror)


def shortened(recipe: Recipe, epochs: int | None, mirror: bool) -> Recipe:
    """The recipe over another number of epochs, and without mirror images where they mean something else."""
    recipe = recipe if mirror else upright(recipe)
    return recipe if epochs is None else rescaled(recipe, epochs)
