"""Networks that judge training images: students of distilled images, and networks that are trained briefly.

The functions `predict_...` return logits [s n k]: of s networks, for every training image.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddjax.data import to_space
from ddjax.denoising.progress import Report, begun
from ddjax.distilled import DistilledSet, check
from ddjax.evaluation.baselines import BASELINES
from ddjax.evaluation.protocols import Protocol, adapted
from ddjax.evaluation.rates import base_rate, chosen_rates
from ddjax.evaluation.spaces import in_protocol_space, suited
from ddjax.execution.guard import intact
from ddjax.execution.options import RunOptions
from ddjax.preprocess import Preprocess
from ddjax.rows import mirrored
from ddjax.storage.checkpoints import Checkpoints
from ddjax.training import Examples, Fit, Recipe, examples_of, fit, stacked_logits
from ddjax.training.checking import all_finite
from ddjax.training.rule import PLAIN, Rule
from ddjax.types import Model, Params, TrainSet

SHORT = 25  # epochs of a training that learns what images have in common, and few single labels
YOUNG = 0.1  # share of the plain recipe's epochs: by then most right labels are learned and few wrong ones


@dataclasses.dataclass(frozen=True)
class Networks:
    """The networks of a predictor, and what follows their training.

    Attributes:
      model: the architecture.
      seed: of all of them.
      count: their number.
      epochs: of their training; None for the number of its recipe.
      flip: False removes flips from the augmentation.
      report: receives the progress of the stages.
      checkpoints: of the trainings.
    """

    model: Model
    seed: int = 0
    count: int = 1
    epochs: int | None = None
    flip: bool = True
    report: Report | None = None
    checkpoints: Checkpoints | None = None

    def keys(self) -> Array:
        """A key for each network."""
        return jax.random.split(jax.random.key(self.seed), self.count)

    def begin(self, stage: str, total: int) -> RunOptions:
        """Report that a stage of `total` epochs begins, and return the options of its training."""
        return RunOptions(begun(self.report, stage, total), self.checkpoints)


def predict_students(
    distilled: DistilledSet, train: TrainSet, protocol: Protocol, networks: Networks
) -> Float[np.ndarray, "s n k"]:
    """Logits of new students for `train` (in pixels); see `students_of` for the arguments."""
    params, transform = students_of(distilled, train, protocol, networks)
    return np.asarray(stacked_logits(networks.model, params, to_space(train, transform, "auto").images))


def students_of(
    distilled: DistilledSet, train: TrainSet, protocol: Protocol, networks: Networks
) -> tuple[Params, Preprocess]:
    """Train new students on the distilled images alone.

    If the protocol has several rates, the one is used whose student agrees best with the given labels of 2000 training
    images. This search is the stage "rates", the training the stage "students".

    Args:
      distilled: the training set of the students.
      train: the images to judge, in pixels.
      protocol: how students are trained.
      networks: the students; their epochs replace those of the protocol.

    Returns:
      The parameters, stacked, and the preprocessing of the images that the students can judge.

    Raises:
      Diverged: a student diverged.
    """
    recipe = adapted(protocol.recipe(len(distilled.images)), flip=networks.flip, epochs=networks.epochs)
    transform, plain = in_protocol_space(check(distilled), protocol, train)
    recipe, examples = suited(recipe, plain)
    rate = intact(base_rate(protocol, recipe, distilled))
    if protocol.rates:
        search, seeds = networks.begin("rates", recipe.epochs), [networks.seed]
        [rate] = chosen_rates(networks.model, recipe, [examples], protocol, [train], transform, seeds, search)
    rates = jnp.full(networks.count, rate, jnp.float32)
    options = networks.begin("students", recipe.epochs).part("students")
    fitted = fit(networks.model, recipe, examples, networks.keys(), rates=rates, options=options)
    all_finite(fitted.params, fitted.loss, "students")
    return fitted.params, transform


def trained_by(networks: Networks, recipe: Recipe, examples: Examples, rule: Rule = PLAIN, data: Any = None) -> Fit:
    """Networks trained by a recipe; the stage "networks".

    Args:
      networks: the networks.
      recipe: how long and how they are trained.
      examples: preprocessed images with their targets.
      rule: the training rule.
      data: the rule's data.

    Raises:
      Diverged: a network diverged.
    """
    options = networks.begin("networks", recipe.epochs)
    fitted = fit(networks.model, recipe, examples, networks.keys(), rule=rule, data=data, options=options)
    all_finite(fitted.params, fitted.loss, "networks")
    return fitted


def predict_early_stopped(train: TrainSet, networks: Networks) -> Float[np.ndarray, "s n k"]:
    """Logits of networks that are trained briefly on all images with their given labels; the stage "networks".

    Args:
      train: the images to judge, preprocessed, with their given labels.
      networks: trained for a tenth of the plain recipe, or of `epochs`.
    """
    recipe = young_recipe(networks.epochs, networks.flip)
    fitted = trained_by(networks, recipe, examples_of(train))
    return np.asarray(stacked_logits(networks.model, fitted.params, train.images))


def predict_plain(train: TrainSet, networks: Networks) -> Float[np.ndarray, "s n k"]:
    """Log-probabilities of networks that are trained for a short time with augmentation; the stage "networks".

    Args:
      train: the images to judge, preprocessed, with their given labels.
      networks: trained for 25 epochs, or `epochs`.
    """
    recipe = short_recipe(len(train.labels), networks.epochs)
    return log_predictions(trained_by(networks, recipe, examples_of(train)), train.images, networks.flip)


def log_predictions(fitted: Fit, images: Any, flip: bool) -> Float[np.ndarray, "s n k"]:
    """Log-probabilities of trained networks; with `flip` the mean over an image and its mirror image."""
    views = [images, mirrored(images)] if flip else [images]
    logits = [stacked_logits(fitted.model, fitted.params, view) for view in views]
    return np.asarray(sum(jax.nn.log_softmax(jnp.asarray(each)) for each in logits) / len(views))


def plain_recipe(epochs: int | None, flip: bool) -> Recipe:
    """The recipe of plain training on the whole set."""
    return adapted(BASELINES["B-PLAIN"].recipe, flip=flip, epochs=epochs)


def short_recipe(n: int, epochs: int | None) -> Recipe:
    """A short training of n images with augmentation: it learns what they have in common, and few single labels."""
    epochs, steps = epochs or SHORT, -(-n // 128)
    return Recipe(
        epochs=epochs,
        batch=128,
        rate=0.02,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="warmup_cosine",
        warmup_steps=int(min(2, epochs / 4) * steps),
        augment="dance_pretrain",
    )


def young_recipe(epochs: int | None, flip: bool) -> Recipe:
    """The plain recipe, stopped after the first tenth of its epochs."""
    recipe = plain_recipe(epochs, flip)
    return dataclasses.replace(recipe, epochs=max(1, round(YOUNG * recipe.epochs)))
