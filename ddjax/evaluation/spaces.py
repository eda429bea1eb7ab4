"""A distilled set, and the images that it is tested on, in the space and with the targets that a protocol asks for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ddjax import preprocess
from ddjax.distilled import DistilledSet, expand, pixels, targets
from ddjax.evaluation.protocols import Protocol
from ddjax.training import Examples, Recipe
from ddjax.types import PIXELS, TestSet, TrainSet


def suited(recipe: Recipe, plain: DistilledSet) -> tuple[Recipe, Examples]:
    """The recipe and the examples with targets that its loss is meant for.

    Learned regression labels are no probabilities: whatever the protocol, their loss is the squared error that they
    were learned with. Labels that are, under a protocol with a squared error, become centred as it has them.
    """
    if plain.label_kind == "regression":
        return dataclasses.replace(recipe, loss="squared_error"), Examples(plain.images, targets(plain))
    shift = 1 / plain.num_classes if recipe.loss == "squared_error" else 0.0
    return recipe, Examples(plain.images, targets(plain) - shift)


def in_protocol_space(
    distilled: DistilledSet, protocol: Protocol, train: TrainSet | None
) -> tuple[preprocess.Preprocess, DistilledSet]:
    """The transform that students' inputs go through, and the set decoded and in that space."""
    if protocol.space == "own":
        if distilled.preprocess is None:
            raise ValueError(f"the set lives in {distilled.space!r} but carries no preprocess: attach it to test in it")
        return distilled.preprocess, expand(distilled)
    if train is None or train.space != PIXELS:
        found = None if train is None else train.space
        raise ValueError(
            f"protocol {protocol.name!r} goes back to pixels and standardises by the training images: "
            f"pass train= in the space {PIXELS!r}; got {found!r}"
        )
    transform = preprocess.fit(protocol.space, np.asarray(train.images))
    back = dataclasses.replace(
        distilled,
        images=preprocess.apply(transform, jnp.clip(pixels(distilled), 0.0, 1.0)),
        preprocess=transform,
        space=transform.fingerprint,
    )
    return transform, expand(back)


def in_space(data: TestSet | TrainSet, transform: preprocess.Preprocess) -> jax.Array:
    """The images in the space of `transform`; images that are already in another one are refused."""
    if data.space == PIXELS:
        return preprocess.apply(transform, data.images)
    if data.space != transform.fingerprint:
        raise ValueError(
            f"images in {data.space!r} cannot be scored in {transform.fingerprint!r}: hand in uint8 pixels, or images "
            "that went through the transform of the distilled set"
        )
    return data.images
