"""NCFM: neural characteristic function matching.

As in DANCE, images of a class are mosaics that are updated in two views under a pool of networks between initialisation
and trained weights. In the first view, not the mean feature but the characteristic function of the features approaches
that of real images, at frequencies that are random or come from a sampling network, which learns to make the distance
large. The second view is DANCE's calibration. Source: Wang et al., 2025 (arXiv:2502.20653).

All classes of an iteration share their frequencies, and the sampling network takes one step in each iteration. The
published code draws frequencies for each class, and takes a step after each.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ddjax.distillers import dance
from ddjax.distillers.dance import Start
from ddjax.distillers.dance.feed import ClassBatch
from ddjax.distillers.dance.start import Box
from ddjax.distillers.dance.step import Views
from ddjax.distillers.ncfm.config import NcfmConfig
from ddjax.distillers.ncfm.matching import Sampler, ascend, frequencies, sampler
from ddjax.distillers.ncfm.step import Moving, advance, plateau
from ddjax.trees import record
from ddjax.types import Distiller, Metrics, Model, PRNGKey

_IMAGES, _FREQUENCIES = range(2)  # the streams of a step's key


@record(static=("space",))
class NcfmState:
    """Everything that changes between steps, and the box."""

    moving: Moving  # [k n h w c]
    sampler: Sampler
    plateau: Any  # the factor of the images' learning rate, and what decides when it falls
    box: Box
    key: Any  # constant: each step folds its own number in
    step: Any  # int32 []
    space: str


def build(config: NcfmConfig, model: Model) -> Distiller:
    """The functions init, step and extract for a network."""

    @jax.jit
    def init(key: PRNGKey, start: Start) -> NcfmState:
        images = jnp.copy(start.images)
        width = jax.eval_shape(lambda key: model.features(model.init(key), images[0, :1]), key).shape[-1]
        return NcfmState(
            moving=Moving(images=images, first=jnp.zeros_like(images), second=jnp.zeros_like(images)),
            sampler=sampler(config, jax.random.fold_in(key, 0), width),
            plateau=plateau(config).init(images),
            box=jax.tree.map(jnp.copy, start.box),
            key=jax.random.fold_in(key, 1),
            step=jnp.int32(0),
            space=start.space,
        )

    @jax.jit
    def step(state: NcfmState, batch: ClassBatch) -> tuple[NcfmState, Metrics]:
        views = Views(config, model, state.box, *jax.lax.stop_gradient((batch.encoder, batch.judge)))
        key = jax.random.fold_in(state.key, state.step)
        drawn, back = jax.vjp(
            lambda weights: frequencies(config, weights, jax.random.fold_in(key, _FREQUENCIES), state.sampler.width),
            state.sampler.weights,
        )
        moving, report, pull = advance(
            views, drawn, state.moving, state.step, state.plateau.scale, batch, jax.random.fold_in(key, _IMAGES)
        )
        value = report.matching.mean() + report.calibration.mean()
        _, reduced = plateau(config).update({}, state.plateau, value=value)
        metrics = {
            "matching": report.matching.mean(),
            "calibration": report.calibration.mean(),
            "outside": report.outside.max(),
            "rate_factor": state.plateau.scale,
        }
        learned = ascend(config, state.sampler, back(pull)[0])
        return dataclasses.replace(state, moving=moving, sampler=learned, plateau=reduced, step=state.step + 1), metrics

    return Distiller(init, step, dance.build(config, model).extract)


METHOD = dance.METHOD._replace(config=NcfmConfig, build=build)
