"""RDC's golden MixUp contrast as a third view of DANCE, after the public code of Kim and Song (ICCV 2025).

Images whose label is likely right, by a mixture on the losses of a network trained for a few epochs, are mixed into the
learned images. A supervised contrast pulls the features of learned images of one class together, and those of mixtures
towards both of their classes in proportion.

The name says reconstructed, because three things differ from the published method. DANCE replaces IDM. The networks of
the pool are DANCE's, and do not train on the selected images. All classes are contrasted at once, where the public code
passes one class at a time, without negatives.
"""

import dataclasses
import functools
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ddjax.distillers import dance
from ddjax.distillers.dance import DanceState, Start
from ddjax.distillers.dance.config import DanceConfig
from ddjax.distillers.dance.feed import ClassBatch, ClassBatches
from ddjax.distillers.dance.step import Moving, Views, descend, shown
from ddjax.evaluation.baselines import BASELINES
from ddjax.models.convolution.conv import product
from ddjax.models.layers import unit
from ddjax.ranges import Count, NonNegative, PartialShare, Positive, Share
from ddjax.robust.mixture import clean_probability
from ddjax.training import examples_of, fit, predict
from ddjax.training.checking import all_finite
from ddjax.training.losses import cross_entropy
from ddjax.trees import record, take
from ddjax.types import Distiller, Feed, Images, Metrics, Model, PRNGKey, TrainSet

log = logging.getLogger("ddjax.rdc")
_CONTRAST, _PARTNERS = 7, 11  # streams of a step's key and of the feed's


@dataclasses.dataclass(frozen=True)
class RdcConfig(DanceConfig):
    """The fields of DANCE, and those below with the values of the public code.

    Attributes:
      contrast: weight of the contrast; 0 leaves DANCE.
      share: of the learned image in a mixture.
      temperature: of the contrast.
      copies: augmented copies of each learned image.
      warmup: epochs of plain training before labels are judged.
      confidence: a label is selected if it is right with this probability.
    """

    contrast: NonNegative = 1.0
    share: Share = 0.75
    temperature: Positive = 0.07
    copies: Count = 4
    warmup: Count = 5
    confidence: PartialShare = 0.95


class RdcBatch(NamedTuple):
    """DANCE's batch, and selected images of any class for the mixtures."""

    own: ClassBatch
    partners: Images
    labels: Int[Array, "b"]


@record()
class RdcData:
    """DANCE's data, the labels, and which rows are selected."""

    own: Any
    labels: Any  # int32 [n]
    selected: Any  # bool [n]
    key: Any


def supervised_contrast(features: Float[Array, "m d"], labels: Int[Array, "m"], temperature: float) -> Float[Array, ""]:
    """Mean over images of - log softmax of the similarity to others of their class (Khosla et al., 2020)."""
    directions = unit(features)
    others = ~jnp.eye(len(directions), dtype=bool)
    scores = jnp.where(others, product(directions, directions.T) / temperature, -jnp.inf)
    logs = jnp.where(others, jax.nn.log_softmax(scores, axis=1), 0)
    same = (labels[:, None] == labels[None]) & others
    count = same.sum(axis=1)
    return -jnp.mean(jnp.sum(logs * same, axis=1) / jnp.maximum(count, 1))


def golden_mixup(
    config: RdcConfig, views: Views, images: Float[Array, "k n h w c"], batch: RdcBatch, key: PRNGKey
) -> Float[Array, ""]:
    """The contrast of learned images, and of their mixtures with selected images under both labels."""
    k = len(images)

    def copies(label: Array, own: Array) -> Array:
        keys = jax.random.split(jax.random.fold_in(key, label), config.copies)
        return jnp.concatenate([shown(config, views.box, own, one) for one in keys])

    seen = jax.vmap(copies)(jnp.arange(k), images)
    labels = jnp.repeat(jnp.arange(k), seen.shape[1], total_repeat_length=k * seen.shape[1])
    seen = seen.reshape(-1, *seen.shape[2:])
    chosen = jnp.arange(len(seen)) % len(batch.partners)
    mixed = config.share * seen + (1 - config.share) * batch.partners[chosen]
    contrast = functools.partial(supervised_contrast, temperature=config.temperature)
    plain, blended = views.features(seen), views.features(mixed)
    return (
        contrast(plain, labels)
        + config.share * contrast(blended, labels)
        + (1 - config.share) * contrast(blended, batch.labels[chosen])
    )


def build(config: RdcConfig, model: Model) -> Distiller:
    """DANCE's functions, with a step of the contrast after each of its steps."""
    base = dance.build(config, model)

    @jax.jit
    def step(state: DanceState, batch: RdcBatch) -> tuple[DanceState, Metrics]:
        after, metrics = base.step(state, batch.own)
        if not config.contrast:
            return after, metrics
        views = Views(config, model, state.box, *jax.lax.stop_gradient((batch.own.encoder, batch.own.judge)))
        key = jax.random.fold_in(jax.random.fold_in(state.key, _CONTRAST), state.step)

        def loss(images: Array) -> Array:
            return golden_mixup(config, views, images, batch, key)

        value, gradient = jax.value_and_grad(loss)(after.moving.images)
        moving: Moving = descend(after.moving, config.contrast * gradient, config.image_rate(), config.momentum)
        return dataclasses.replace(after, moving=moving), metrics | {"contrast": value}

    return Distiller(base.init, step, base.extract)


def selected(config: RdcConfig, train: TrainSet, model: Model, key: PRNGKey) -> Bool[np.ndarray, "n"]:
    """The labels that are right with the wanted probability, by a mixture on losses after the warm-up."""
    examples = examples_of(train)
    recipe = dataclasses.replace(BASELINES["B-PLAIN"].recipe, epochs=config.warmup)
    fitted = fit(model, recipe, examples, key[None])
    all_finite(fitted.params, fitted.loss, "networks that judge labels")
    params = take(fitted.params, 0)
    losses = cross_entropy(predict(model, params, examples.images), examples.targets)
    return np.asarray(clean_probability(losses) >= config.confidence)


def prepare(config: RdcConfig, train: TrainSet, model: Model, key: PRNGKey) -> tuple[Start, Feed]:
    """DANCE's start and feed, with selected images in each batch."""
    own_key, select_key, feed_key = jax.random.split(key, 3)
    start, feed = dance.prepare(config, train, model, own_key)
    keep = selected(config, train, model, select_key)
    if not keep.any():
        log.warning("no label is right with probability %g: all images are partners of mixtures", config.confidence)
        keep = np.ones_like(keep)
    data = RdcData(own=feed.data, labels=jnp.asarray(train.labels), selected=jnp.asarray(keep), key=feed_key)
    return start, Feed(data, RdcBatches(feed.at, min(len(keep), config.batch)))


@dataclasses.dataclass(frozen=True)
class RdcBatches:
    """The batch of a step, as a function of a feed's data. Equal sizes give equal functions, and one compiled program.

    Attributes:
      own: of DANCE's batch.
      size: number of partners. Where fewer images are selected, they repeat.
    """

    own: ClassBatches
    size: int

    def __call__(self, data: RdcData, step: Int[Array, ""]) -> RdcBatch:
        """DANCE's batch, and selected images drawn without replacement."""
        key = jax.random.fold_in(jax.random.fold_in(data.key, _PARTNERS), step)
        score = jnp.where(data.selected, jax.random.uniform(key, data.selected.shape), 2)
        rows = jnp.argsort(score)[jnp.arange(self.size) % data.selected.sum()]
        return RdcBatch(self.own(data.own, step), data.own.images[rows], data.labels[rows])

    def joined(self, others: Sequence["RdcBatches"]) -> "RdcBatches":
        """One function for the feeds of a fleet."""
        return RdcBatches(self.own.joined([each.own for each in others]), self.size)


METHOD = dance.METHOD._replace(config=RdcConfig, prepare=prepare, build=build, split=())
