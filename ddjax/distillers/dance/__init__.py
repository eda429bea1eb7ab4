"""DANCE: dual-view distribution alignment.

The images of a class, usually mosaics of several small images, are updated in two views. In the first, their mean
feature approaches that of real images under networks between initialisation and trained weights. In the second, a
trained network learns to classify them (calibration). No second derivatives are needed. Source: Zhang et al., 2024
(arXiv:2406.01063); the mosaic is that of IDC (Kim et al., 2022, arXiv:2205.14959).
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from ddjax.distilled import DistilledSet
from ddjax.distillers.dance import feed as feeds
from ddjax.distillers.dance.config import DanceConfig
from ddjax.distillers.dance.feed import ClassBatch, Pool
from ddjax.distillers.dance.start import Box, box_of, from_unit, no_box, start_images
from ddjax.distillers.dance.step import Moving, Views, advance
from ddjax.distillers.shared.start import slot_labels
from ddjax.experts import pool_recipe, trajectories
from ddjax.models import build_sized
from ddjax.rows import by_rows
from ddjax.trees import record
from ddjax.types import Distiller, Feed, Method, Metrics, Model, Params, PRNGKey, TrainSet


@record(static=("space",))
class Start:
    """The first images, and the value range in which they are learned."""

    images: Any  # [k n h w c], in the coordinates of the box
    box: Box
    space: str


@record(static=("space",))
class DanceState:
    """Everything that changes between steps, and the box."""

    moving: Moving  # [k n h w c]
    box: Box
    key: Any  # constant: each step folds its own number in
    step: Any  # int32 []
    space: str


def build(config: DanceConfig, model: Model) -> Distiller:
    """The functions init, step and extract for a network."""

    @jax.jit  # one program when called alone; inlined inside other programs. The same holds for `step`
    def init(key: PRNGKey, start: Start) -> DanceState:
        images = jnp.copy(start.images)
        return DanceState(
            moving=Moving(images=images, velocity=jnp.zeros_like(images)),
            box=jax.tree.map(jnp.copy, start.box),
            key=jax.random.clone(key),
            step=jnp.int32(0),
            space=start.space,
        )

    @jax.jit
    def step(state: DanceState, batch: ClassBatch) -> tuple[DanceState, Metrics]:
        views = Views(config, model, state.box, *jax.lax.stop_gradient((batch.encoder, batch.judge)))
        num_classes = len(state.moving.images)
        labels = jnp.arange(num_classes, dtype=jnp.int32)
        key = jax.random.fold_in(state.key, state.step)
        moving, report = advance(views, num_classes, labels, state.moving, batch.images, batch.present, key)
        metrics = {
            "inner": report.inner.mean(),
            "calibration": report.calibration.mean(),
            "outside": report.outside.max(),
        }
        return dataclasses.replace(state, moving=moving, step=state.step + 1), metrics

    def extract(state: Any) -> DistilledSet:  # or a state of NCFM, which has the same fields
        k, n, *shape = state.moving.images.shape
        images = jnp.clip(state.moving.images, 0, 1) if config.unit_box else state.moving.images
        return DistilledSet(
            images=from_unit(state.box, images.reshape(k * n, *shape)),
            labels=slot_labels(k, n),
            num_classes=k,
            space=state.space,
            factor=config.factor_for(tuple(shape)),
            formation=config.formation,
        )

    return Distiller(init, step, extract)


def prepare(config: DanceConfig, train: TrainSet, model: Model, key: PRNGKey) -> tuple[Start, Feed]:
    """The first images, and a feed of real batches by class with networks of the trained (or cached) pool."""
    start_key, feed_key, pool_key = jax.random.split(key, 3)
    start = first_images(config, train, start_key)
    if config.encoder == "random":
        return start, feeds.class_batches(train, config.batch, None, fresh(model), feed_key)
    pool = trained_pool(config, train, model, int(jax.random.bits(pool_key, dtype=jnp.uint32) >> 1))
    return start, feeds.class_batches(train, config.batch, pool, feeds.drawn_pair, feed_key)


def first_images(config: DanceConfig, train: TrainSet, key: PRNGKey) -> Start:
    """The images before the first step."""
    train = dataclasses.replace(train, images=by_rows(train.images))
    box = box_of(train.images) if config.unit_box else no_box(train.images)
    return Start(images=start_images(config, key, train, box), box=box, space=train.space)


@functools.lru_cache(maxsize=8)
def fresh(model: Model) -> feeds.Draw:
    """A draw of a new network, which serves as both networks of a step."""

    def draw(networks: None, key: PRNGKey) -> tuple[Params, Params]:
        params = model.init(key)
        return params, params

    return draw


def trained_pool(config: DanceConfig, train: TrainSet, model: Model, seed: int) -> Pool:
    """Networks before and after training on the given labels."""
    recipe = pool_recipe(config.pool_epochs) if config.pool_epochs else pool_recipe()
    experts = trajectories(
        model,
        recipe,
        train,
        experts=config.members,
        keep="ends",
        seed=seed,
        store=config.keep_pool,
    )
    return Pool(initial=experts.stacked(0), trained=experts.stacked(recipe.epochs))


def network(config: DanceConfig, image_shape: tuple[int, ...], num_classes: int) -> Model:
    """The published ConvNet with instance norm."""
    return build_sized("convnet", image_shape, num_classes, width=config.width or None, depth=config.depth or None)


METHOD = Method(
    config=DanceConfig,
    prepare=prepare,
    build=build,
    model=network,
    space="dance",
    split=("images", "present"),
)
