"""A distilled set in the space and with the targets of a protocol."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from ddjax import preprocess
from ddjax.distilled import DistilledSet, expand, pixels, targets
from ddjax.evaluation.protocols import Protocol
from ddjax.training import Examples, Recipe
from ddjax.types import PIXELS, TrainSet


def suited(recipe: Recipe, plain: DistilledSet) -> tuple[Recipe, Examples]:
    """The recipe and the training examples, with targets that match the loss.

    Learned regression labels are not probabilities, so they are always trained with the squared error. Other labels are
    probabilities; a protocol with a squared error receives them centred.
    """
    if plain.label_kind == "regression":
        return dataclasses.replace(recipe, loss="squared_error"), Examples(plain.images, targets(plain))
    shift = 1 / plain.num_classes if recipe.loss == "squared_error" else 0.0
    return recipe, Examples(plain.images, targets(plain) - shift)


def in_protocol_space(
    distilled: DistilledSet, protocol: Protocol, train: TrainSet | None
) -> tuple[preprocess.Preprocess, DistilledSet]:
    """The preprocessing of students' inputs, and the set decoded and in that space.

    Raises:
      ValueError: the set has no preprocessing, or training images are missing or not in pixels.
    """
    if protocol.space == "own":
        if distilled.preprocess is None:
            raise ValueError(f"the set is in {distilled.space!r} but carries no preprocess: attach it to test there")
        return distilled.preprocess, expand(distilled)
    if train is None or train.space != PIXELS:
        space = None if train is None else train.space
        raise ValueError(
            f"protocol {protocol.name!r} converts the set to pixels and standardises by the training images: "
            f"pass train= in the space {PIXELS!r}; got {space!r}"
        )
    transform = preprocess.fit(protocol.space, np.asarray(train.images))
    back = dataclasses.replace(
        distilled,
        images=preprocess.apply(transform, jnp.clip(pixels(distilled), 0.0, 1.0)),
        preprocess=transform,
        space=transform.fingerprint,
    )
    return transform, expand(back)
