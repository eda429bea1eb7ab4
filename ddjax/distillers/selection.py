"""Distilled sets that are selected, not learned: random, herding and k-center, one image per class and step.

A rule scores every image given the images selected so far, and the best image of each class is taken. Classes are
those of the given labels; clean labels are not available here.

Images on the host are represented by their row numbers, which `run_method` replaces by the selected images.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ddjax import ranges
from ddjax.distilled import DistilledSet
from ddjax.distillers.shared.feeds import constant
from ddjax.distillers.shared.start import check_class_sizes, slot_labels, uniform_by_id
from ddjax.ranges import Count
from ddjax.rows import HostRows, as_floats, by_rows
from ddjax.training import Recipe, examples_of, fit
from ddjax.training.checking import all_finite
from ddjax.training.predict import by_blocks
from ddjax.trees import record, take
from ddjax.types import Distiller, Feed, Method, Metrics, Model, PRNGKey, TrainSet

TOO_FEW = "lower ipc, or use images more than once with short_class='repeat'"


@ranges.settings()
class SelectionConfig:
    """Settings of every rule.

    Attributes:
      ipc: images per class.
      features: in which distances are measured: the last layer of a network trained on the given labels, or pixels.
      feature_epochs: of the training of that network.
      short_class: a class with fewer than `ipc` images is an error, or its images repeat equally often.
    """

    ipc: Count = 1
    features: Annotated[str, ("trained", "pixels")] = "trained"
    feature_epochs: Count = 20
    short_class: Annotated[str, ("error", "repeat")] = "error"


class Candidates(NamedTuple):
    """All images that can be selected: the batch of every step."""

    train: TrainSet
    features: Float[Array, "n d"]


@record(static=("space",))
class SelectionState:
    """The selection so far. Slot `c * ipc + t` holds the image selected for class c in step t."""

    images: Any  # float32 [m h w c], or int32 [m] row numbers
    taken: Any  # bool [n], images that are not selected again before all others of their class
    memory: Any  # the rule's own
    key: Any
    step: Any  # int32 []
    space: str


class Rule(NamedTuple):
    """A selection rule: its initial memory, the scores of all candidates, and the memory after the selected rows."""

    start: Callable[[Candidates], Any]
    score: Callable[[Any, Candidates, PRNGKey, Array], Float[Array, "n"]]
    update: Callable[[Any, Candidates, Int[Array, "k"]], Any]


def class_means(candidates: Candidates) -> Float[Array, "k d"]:
    """Mean features of each given class."""
    train, k = candidates.train, candidates.train.num_classes
    total = jax.ops.segment_sum(candidates.features, train.labels, k)
    return total / jnp.maximum(jnp.bincount(train.labels, length=k), 1)[:, None]


def _random_score(memory: Any, candidates: Candidates, key: PRNGKey, step: Array) -> Float[Array, "n"]:
    # by id: the choice depends neither on the order of the set nor on its other examples
    return uniform_by_id(key, candidates.train.ids)


class _HerdingMemory(NamedTuple):
    means: Float[Array, "k d"]
    chosen_sum: Float[Array, "k d"]


def _herding_score(memory: _HerdingMemory, candidates: Candidates, key: PRNGKey, step: Array) -> Float[Array, "n"]:
    labels = candidates.train.labels
    mean_if_taken = (memory.chosen_sum[labels] + candidates.features) / (step + 1)
    return -jnp.sum((memory.means[labels] - mean_if_taken) ** 2, axis=1)


class _CenterMemory(NamedTuple):
    means: Float[Array, "k d"]
    nearest: Float[Array, "n"]  # squared distance to the nearest chosen image of the class


def _center_score(memory: _CenterMemory, candidates: Candidates, key: PRNGKey, step: Array) -> Float[Array, "n"]:
    to_mean = jnp.sum((memory.means[candidates.train.labels] - candidates.features) ** 2, axis=1)
    return jnp.where(step == 0, -to_mean, memory.nearest)


def _center_update(memory: _CenterMemory, candidates: Candidates, rows: Int[Array, "k"]) -> _CenterMemory:
    chosen = candidates.features[rows][candidates.train.labels]
    return memory._replace(nearest=jnp.minimum(memory.nearest, jnp.sum((candidates.features - chosen) ** 2, axis=1)))


RULES: dict[str, Rule] = {
    "random": Rule(lambda c: (), _random_score, lambda memory, c, rows: memory),
    # Welling, 2009: the mean of the selected images follows the mean of the class
    "herding": Rule(
        lambda c: _HerdingMemory(class_means(c), jnp.zeros_like(class_means(c))),
        _herding_score,
        lambda memory, c, rows: memory._replace(chosen_sum=memory.chosen_sum + c.features[rows]),
    ),
    # Sener & Savarese, 2018 (arXiv:1708.00489): the farthest from all selected; the first is nearest to the mean
    "kcenter": Rule(
        lambda c: _CenterMemory(class_means(c), jnp.full(len(c.features), jnp.inf, jnp.float32)),
        _center_score,
        _center_update,
    ),
}


def still_taken(taken: Bool[Array, "n"], labels: Int[Array, "n"], num_classes: int) -> Bool[Array, "n"]:
    """The taken rows; a class whose rows are all taken starts again without any."""
    left = jax.ops.segment_sum((~taken).astype(jnp.int32), labels, num_classes)
    return taken & (left[labels] > 0)


def best_of_each_class(
    scores: Float[Array, "n"], taken: Bool[Array, "n"], labels: Int[Array, "n"], num_classes: int
) -> Int[Array, "k"]:
    """The row with the largest score in each class among rows not taken."""
    scores = jnp.where(taken, -jnp.inf, scores)
    top = jax.ops.segment_max(scores, labels, num_classes)
    rows = jnp.where(~taken & (scores == top[labels]), jnp.arange(len(labels)), len(labels))
    return jax.ops.segment_min(rows, labels, num_classes)


def selection(rule: Rule, config: SelectionConfig) -> Distiller:
    """The distiller of one rule."""

    def init(key: PRNGKey, start: Candidates) -> SelectionState:
        m = config.ipc * start.train.num_classes
        images = jnp.zeros((m, *start.train.images.shape[1:]), start.train.images.dtype)
        return SelectionState(
            images=images,
            taken=jnp.zeros(len(start.train.ids), bool),
            memory=rule.start(start),
            key=key,
            step=jnp.int32(0),
            space=start.train.space,
        )

    def step(state: SelectionState, batch: Candidates) -> tuple[SelectionState, Metrics]:
        train, k = batch.train, batch.train.num_classes
        scores = rule.score(state.memory, batch, state.key, state.step)
        taken = still_taken(state.taken, train.labels, k)
        rows = best_of_each_class(scores, taken, train.labels, k)
        slots = jnp.arange(k) * config.ipc + state.step
        new = dataclasses.replace(
            state,
            images=state.images.at[slots].set(train.images[rows]),
            taken=taken.at[rows].set(True),
            memory=rule.update(state.memory, batch, rows),
            step=state.step + 1,
        )
        return new, {"score": jnp.mean(scores[rows])}

    def extract(state: SelectionState) -> DistilledSet:
        k = len(state.images) // config.ipc
        labels = slot_labels(k, config.ipc)
        return DistilledSet(images=state.images, labels=labels, num_classes=k, space=state.space)

    return Distiller(init, step, extract)


def prepare(
    config: SelectionConfig, train: TrainSet, model: Model, key: PRNGKey, *, needs_features: bool
) -> tuple[Candidates, Feed]:
    """All candidates with their features, as the start and as the batch of every step."""
    repeats = config.short_class == "repeat"
    check_class_sizes(train.labels, train.num_classes, 1 if repeats else config.ipc, TOO_FEW)
    images = by_rows(train.images)
    on_host = isinstance(images, HostRows)
    if not needs_features:
        features = jnp.zeros((len(train.ids), 0), jnp.float32)
    elif config.features == "trained":
        recipe = Recipe(epochs=config.feature_epochs, batch=128, rate=0.01, momentum=0.9, weight_decay=5e-4)
        fitted = fit(model, recipe, examples_of(train), key[None])
        all_finite(fitted.params, fitted.loss, "networks that compute features")
        params = take(fitted.params, 0)
        features = jnp.asarray(by_blocks(functools.partial(_features(model), params), images))
    elif on_host:
        raise ValueError(
            f'features="pixels" of {len(images)} images on the host are all images as floats: take features="trained", '
            'or keep the images on the device with images="device"'
        )
    else:
        features = as_floats(images).reshape(len(train.ids), -1)
    rows = jnp.arange(len(train.ids), dtype=jnp.int32)
    candidates = Candidates(dataclasses.replace(train, images=rows if on_host else images), features)
    return candidates, Feed(candidates, constant)


@functools.lru_cache(maxsize=8)
def _features(model: Model) -> Callable[[Any, Array], Array]:
    def all_of(params: Any, images: Any) -> Array:
        rows = jnp.arange(len(images))
        return jax.lax.map(lambda row: model.features(params, images[row][None])[0], rows, batch_size=500)

    return jax.jit(all_of)


def method(name: str) -> Method:
    """The rule of that name in `RULES` as a method."""
    needs = name != "random"
    return Method(
        config=SelectionConfig,
        prepare=lambda config, train, model, key: prepare(config, train, model, key, needs_features=needs),
        build=lambda config, model: selection(RULES[name], config),  # `prepare` has computed the features
        steps=lambda config: config.ipc,
    )
