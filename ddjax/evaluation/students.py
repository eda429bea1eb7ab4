"""Scores of a distilled set: fresh networks trained on it, tested on clean images."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddjax import preprocess
from ddjax.distilled import DistilledSet, check, expand, pixels, targets
from ddjax.evaluation.measures import confusion, denoising
from ddjax.evaluation.protocols import PROTOCOLS, Protocol, upright
from ddjax.models import build
from ddjax.names import choose
from ddjax.training import Examples, Recipe, fit, predict
from ddjax.training.fit import Report
from ddjax.types import PIXELS, Audit, Model, TestSet, TrainSet

HELD_OUT = 2000  # training images on which a rate is chosen, by their given labels


class Scores(NamedTuple):
    """What students reached. Accuracies are fractions; spreads are population deviations over students."""

    last: list[float]  # each student, after its last epoch: the headline is their mean
    best: list[float]  # each student, the best epoch watched: reference only, chosen on test data
    rate: float
    protocol: str
    confusion: Any  # int [k k], summed over students
    denoising: dict[str, float] | None  # mean over students, where an audit was handed in


def evaluate(
    distilled: DistilledSet,
    test: TestSet,
    *,
    protocol: str | Protocol = "common",
    seed: int = 0,
    students: int | None = None,
    model: Model | None = None,
    train: TrainSet | None = None,
    audit: Audit | None = None,
    epochs: int | None = None,
    mirror: bool = True,
    how: str = "auto",
    report: Report | None = None,
) -> Scores:
    """Train fresh students on `distilled` by a published protocol and test them.

    Args:
      distilled: any set, also one made elsewhere: images in some space, labels of some kind, and the `preprocess`
        that leads there from pixels.
      test: uint8 pixels, or images already in the space of the set; another space is refused.
      train: real training images (uint8 pixels, given labels). Protocols that choose their rate need them, and
        those that go back to pixels take mean and deviation from them.
      audit: clean labels of `train`; adds what the students make of the training set.
      model: another network than the protocol's, for cross-architecture tests.
      mirror: False leaves mirror images out of the augmentation, for digits and letters.
      epochs: a shorter or longer run than published, schedule scaled; say so beside the number.
    """
    protocol = choose(PROTOCOLS, protocol, "protocol") if isinstance(protocol, str) else protocol
    check(distilled)
    recipe = protocol.recipe(len(distilled.images))
    recipe = recipe if mirror else upright(recipe)
    recipe = recipe if epochs is None else rescaled(recipe, epochs)
    model = model or build(protocol.network, test.images.shape[1:], test.num_classes)
    transform, plain = in_protocol_space(distilled, protocol, train)
    test_images = in_space(test, transform)
    recipe, examples = suited(recipe, plain)
    keys = jax.random.split(jax.random.key(seed), students or protocol.students)

    rate = recipe.rate
    if protocol.use_step_size and distilled.step_size is not None:
        rate = float(distilled.step_size)
    if len(protocol.rates) > 1:
        rate = chosen_rate(model, recipe, examples, protocol, train, transform, seed, how)
    fitted = fit(
        model,
        recipe,
        examples,
        keys,
        rates=jnp.full(len(keys), rate),
        watch={"test": (test_images, {"test_acc": test.labels})},
        every=max(1, recipe.epochs // protocol.checks),
        how=how,
        report=report,
    )
    watched = fitted.seen["test_acc"]
    predictions = predict_classes(model, fitted.params, test_images)
    counts = sum(confusion(p, np.asarray(test.labels), test.num_classes) for p in predictions)
    return Scores(
        [float(x) for x in watched[:, -1]],
        [float(x) for x in watched.max(axis=1)],
        float(rate),
        protocol.name,
        counts,
        training_set_view(model, fitted.params, train, audit, transform),
    )


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


def chosen_rate(
    model: Model,
    recipe: Recipe,
    examples: Examples,
    protocol: Protocol,
    train: TrainSet | None,
    transform: preprocess.Preprocess,
    seed: int,
    how: str,
) -> float:
    """The rate whose student agrees best with the given labels of held-out training images; no test data, no truth."""
    if train is None:
        raise ValueError(
            f"protocol {protocol.name!r} chooses its rate among {protocol.rates} on training images with given "
            "labels: pass train=, or a protocol with one rate"
        )
    rows = np.sort(np.random.default_rng(seed).permutation(len(train.labels))[:HELD_OUT])
    held_out = dataclasses.replace(train, images=train.images[rows], labels=train.labels[rows])
    rates = jnp.array(protocol.rates, jnp.float32)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), len(rates))
    watch = {"held_out": (in_space(held_out, transform), {"agreement": jnp.asarray(held_out.labels)})}
    found = fit(model, recipe, examples, keys, rates=rates, watch=watch, how=how).seen["agreement"][:, -1]
    return float(rates[int(np.argmax(found))])


def predict_classes(model: Model, params: Any, images: jax.Array) -> list[np.ndarray]:
    """The predicted class of every image, an array for each student."""
    run = jax.jit(lambda stacked, images: jax.lax.map(lambda p: jnp.argmax(predict(model, p, images), 1), stacked))
    return list(np.asarray(run(params, images)))


def training_set_view(
    model: Model, params: Any, train: TrainSet | None, audit: Audit | None, transform: preprocess.Preprocess
) -> dict[str, float] | None:
    """The denoising measures of the students on the training set, averaged; None without an audit."""
    if train is None or audit is None:
        return None
    if not np.array_equal(np.asarray(train.ids), np.asarray(audit.ids)):
        raise ValueError("audit.ids are not train.ids: both must name the same examples in the same order")
    given, clean = np.asarray(train.labels), np.asarray(audit.labels)
    each = [denoising(p, given, clean) for p in predict_classes(model, params, in_space(train, transform))]
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def rescaled(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe over another number of epochs, its drops and warm-up at the same fractions."""
    ratio = epochs / recipe.epochs
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        drop_epochs=tuple(int(e * ratio) for e in recipe.drop_epochs),
        warmup_steps=int(recipe.warmup_steps * ratio),
    )
