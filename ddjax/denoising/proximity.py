"""Predictors in feature space: ridge regression on all other examples, and votes of the nearest ones.

Features are given, or made of images: those of typical patches for the regression, those of a network that is trained
on the given labels for the votes.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax import trees
from ddjax.augment import AUGMENTATIONS
from ddjax.denoising import costs
from ddjax.denoising.costs import Cost
from ddjax.denoising.patches import cost_of_image, features_of, patch_features
from ddjax.denoising.predictor import FEATURES, IMAGES, FeatureSet, Plan, Predictions, Predictor, Request
from ddjax.denoising.progress import begun
from ddjax.denoising.training import SHORT, cost_of_training, network_for, preprocessed, trained
from ddjax.kernels import matmul_highest
from ddjax.kernels.left_out import left_out
from ddjax.preprocess import one_hot
from ddjax.types import TrainSet

NEIGHBOURS = 10  # as in SimiFeat
ROUNDS = 11  # of augmented features; SimiFeat takes 21
CANDIDATES = 100_000  # neighbours are sought among so many rows
_ROWS = 1024  # whose neighbours are sought at a time
_AT_ONCE = 500  # images in one pass
_HALVINGS = 40
_LOG_SHARPNESS = (-5.0, 8.0)
_TINY = 1e-12


def given_features(request: Request) -> Any:
    """The features of a request; for images those of typical patches, the stage "patches"."""
    data, plan = request.data, request.plan
    if isinstance(data, FeatureSet):
        return data.features
    begun(request.report, "patches")
    return patch_features(data.images, plan.seed, flip=plan.flip)


def left_out_logs(
    features: Any, targets: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "n k"]:
    """Log-probabilities of each row by ridge regression on all other rows, as sure as the given labels allow."""
    if all(np.array_equal(row, features[0]) for row in features):
        raise ValueError("all examples have the same features, so nothing can be said about their labels")
    return np.asarray(as_sure_as(left_out(features, targets).predictions, jnp.asarray(labels)))


@jax.jit
def as_sure_as(scores: Float[Array, "n k"], labels: Int[Array, "n"]) -> Float[Array, "n k"]:
    """Log-softmax of the scores times the factor under which the labels are likeliest, by bisection."""
    own = jnp.mean(jnp.take_along_axis(scores, labels[:, None], axis=1))

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        expected = jnp.mean(jnp.sum(jax.nn.softmax(jnp.exp(middle) * scores) * scores, axis=1))
        dull = expected < own
        return jnp.where(dull, middle, low), jnp.where(dull, high, middle)

    ends = tuple(jnp.asarray(end, scores.dtype) for end in _LOG_SHARPNESS)
    return jax.nn.log_softmax(jnp.exp(jax.lax.fori_loop(0, _HALVINGS, halve, ends)[0]) * scores)


def votes(features: Any, labels: Int[np.ndarray, "n"], num_classes: int, seed: int) -> Float[np.ndarray, "n k"]:
    """The share of the nearest other rows, by cosine of centred features, that has each given label.

    Args:
      features: [n d]; it may be memory-mapped.
      labels: as given.
      num_classes: k.
      seed: of the rows among which neighbours are sought, if there are more than `CANDIDATES`.

    Returns:
      Rows that sum to 1.
    """
    n = len(labels)
    rows = np.sort(np.random.default_rng(seed).permutation(n)[:CANDIDATES])
    known = np.asarray(features[rows], np.float32)
    middle = known.mean(axis=0)
    known, known_labels = _directions(jnp.asarray(known - middle)), one_hot(jnp.asarray(labels[rows]), num_classes)
    parts = []
    for first in range(0, n, _ROWS):
        asked = np.arange(first, min(n, first + _ROWS))
        near = _directions(jnp.asarray(np.asarray(features[first : first + _ROWS], np.float32) - middle))
        parts.append(np.asarray(_shares(near, known, known_labels, jnp.asarray(asked), jnp.asarray(rows))))
    return np.concatenate(parts)


def _directions(points: Float[Array, "n d"]) -> Float[Array, "n d"]:
    return points / jnp.maximum(jnp.linalg.norm(points, axis=1, keepdims=True), _TINY)


@jax.jit
def _shares(near: Array, known: Array, labels: Array, asked: Array, rows: Array) -> Float[Array, "b k"]:
    cosines = jnp.where(asked[:, None] == rows[None], -jnp.inf, matmul_highest(near, known.T))
    return jnp.mean(labels[jax.lax.top_k(cosines, NEIGHBOURS)[1]], axis=1)


def _ridge(request: Request) -> Predictions:
    data, labels = request.data, np.asarray(request.data.labels)
    logs = left_out_logs(given_features(request), np.asarray(one_hot(jnp.asarray(labels), data.num_classes)), labels)
    return Predictions(logs[None])


def _voting(rounds: int, request: Request) -> Predictions:
    """Votes on features, which for images are those of a network in `rounds` rounds of augmentation."""
    start, data, plan = time.monotonic(), request.data, request.plan
    labels = np.asarray(data.labels)

    def vote(features: Any) -> Float[np.ndarray, "n k"]:
        return votes(features, labels, data.num_classes, plan.seed)

    if isinstance(data, FeatureSet):
        each = [vote(data.features)]
    else:
        train = preprocessed(data)
        fitted, recipe = trained(request, train)
        params = trees.take(fitted.params, 0)
        augment = AUGMENTATIONS[recipe.augment]() if rounds > 1 else None
        key = jax.random.key(plan.seed)
        features = jax.jit(
            lambda params, part, key: fitted.model.features(params, augment(key, part) if augment else part)
        )
        each = []
        for round_ in range(rounds):
            own = jax.random.fold_in(key, round_)
            parts = [
                np.asarray(features(params, train.images[first : first + _AT_ONCE], jax.random.fold_in(own, first)))
                for first in range(0, len(labels), _AT_ONCE)
            ]
            each.append(vote(np.concatenate(parts)))
    shares = np.mean(each, axis=0)
    against = np.mean([share.argmax(axis=1) != labels for share in each], axis=0)
    doubt = 1 - np.take_along_axis(shares, labels[:, None], axis=1)[:, 0]
    # the smallest share that votes can have is 1 / count; a class without votes counts as half a vote
    logs = np.log(np.maximum(shares, 0.5 / (NEIGHBOURS * len(each)))).astype(np.float32)
    scores = {"votes": (against + doubt / (2 * len(each))).astype(np.float32)}
    return Predictions(logs[None], scores, {"neighbours": time.monotonic() - start})


def cost_of_ridge(data: TrainSet | FeatureSet, plan: Plan) -> Cost:
    """The cost of `left_out_logs`, with the features of images."""
    images = None if isinstance(data, FeatureSet) else tuple(data.images.shape[1:])
    n = len(data.labels)
    d = features_of(n, images) if images else np.shape(data.features)[1]
    side = min(n, d)
    made = n * cost_of_image(images) * (1 + plan.flip) if images else 0.0
    return Cost(made + 2 * n * d * side * (2 if d < n else 1) + costs.EIGEN * side**3, 2)


def _cost_of_votes(rounds: int, data: TrainSet | FeatureSet, plan: Plan) -> Cost:
    n = len(data.labels)
    if isinstance(data, FeatureSet):
        return Cost(2.0 * n * min(n, CANDIDATES) * np.shape(data.features)[1], 1)
    model = network_for(data, plan)
    shape = (1, *data.images.shape[1:])
    params = jax.eval_shape(model.init, jax.random.key(0))
    d = jax.eval_shape(model.features, params, jax.ShapeDtypeStruct(shape, jnp.float32)).shape[1]
    again = Cost(n * (costs.forward_flop(model, shape[1:]) + 2.0 * min(n, CANDIDATES) * d), 1)
    return cost_of_training(data, plan) + again.times(rounds)


def _at_least(fewest: int) -> Callable[[TrainSet | FeatureSet, Plan, tuple[str, ...]], None]:
    """The check that there are so many examples."""

    def check(data: TrainSet | FeatureSet, plan: Plan, class_names: tuple[str, ...]) -> None:
        if len(data.labels) < fewest:
            raise ValueError(f"method={plan.method!r} needs {fewest} examples or more; got {len(data.labels)}")

    return check


IN_FEATURE_SPACE = {
    "ridge": Predictor(_ridge, (IMAGES, FEATURES), ("flip", "seed"), _at_least(3), cost=cost_of_ridge),
    **{
        name: Predictor(
            functools.partial(_voting, rounds),
            (IMAGES, FEATURES),
            SHORT,
            _at_least(NEIGHBOURS + 1),
            cost=functools.partial(_cost_of_votes, rounds),
        )
        for name, rounds in (("knn", 1), ("simifeat", ROUNDS))
    },
}
