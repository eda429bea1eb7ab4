"""A class-prototype cleaner, reconstructed from the abstract of arXiv:2212.10766; code and losses are not public.

Call it "CPC (as reconstructed)" in a table. It is a light form, with one network and no semi-supervised training.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ddjax.models.convolution.conv import product
from ddjax.models.layers import unit
from ddjax.ranges import NonNegative, checked
from ddjax.robust.mixture import clean_probability
from ddjax.robust.rule import mean_loss, sharpened, write
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Extra, Findings, Given, Loss, Outputs, Rule, Stats, Tables, weighted_mean
from ddjax.types import PRNGKey

_WIDTH = 128
_TEMPERATURE = 0.1
_SHARPNESS = 2.0  # a temperature of one half


def class_scores(
    directions: Float[Array, "b e"], prototypes: Float[Array, "k e"], bias: Float[Array, "k"]
) -> Float[Array, "b k"]:
    """Logits that an image belongs to a class: (cosine - threshold of the class) / temperature."""
    return (product(unit(directions), unit(prototypes).T) - bias[None]) / _TEMPERATURE


def prototype_loss(scores: Float[Array, "b k"], labels: Int[Array, "b"], clean: Float[Array, "b"]) -> Float[Array, "b"]:
    """Fits the given class's score to the mixture's posterior, and lowers the other scores where that is high."""
    own = jax.nn.one_hot(labels, scores.shape[-1])
    for_own = optax.sigmoid_binary_cross_entropy(jnp.sum(own * scores, axis=1), jax.lax.stop_gradient(clean))
    others = jnp.sum((1 - own) * jax.nn.softplus(scores), axis=1) / (scores.shape[-1] - 1)
    return for_own + jax.lax.stop_gradient(clean) * others


def cleaned_loss(
    logits: Float[Array, "v b k"], targets: Float[Array, "b k"], clean: Float[Array, "b"]
) -> Float[Array, "b"]:
    """Cross-entropy with clean * given label + (1 - clean) * sharpened mean prediction of the views."""
    guess = sharpened(jnp.mean(jax.nn.softmax(logits), axis=0), _SHARPNESS)
    target = clean[:, None] * targets + (1 - clean)[:, None] * guess
    return cross_entropy(logits[0], jax.lax.stop_gradient(target))


@checked
@functools.cache
def prototype_cleaner(warmup: NonNegative = 10.0, detached: NonNegative = 150.0) -> Rule:
    """A cleaner of class prototypes. The published warm-up is 10 of 300 epochs for ten classes, 30 for a hundred.

    Args:
      warmup: until this epoch every label counts as clean. Prototypes learn from the first step.
      detached: until this epoch no gradient passes from the prototypes to the network, which would otherwise confirm
        its own partition.
    """

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        n = len(given.labels)
        return {
            "low": jnp.ones(n),
            "clean": jnp.ones(n),
            "guess": jax.nn.one_hot(given.labels, given.num_classes),
        }

    def extra(key: PRNGKey, given: Given) -> Extra:
        one, two, three = jax.random.split(key, 3)
        return {
            "first": jax.random.normal(one, (given.width, _WIDTH)) * jnp.sqrt(2 / given.width),
            "second": jax.random.normal(two, (_WIDTH, _WIDTH)) * jnp.sqrt(1 / _WIDTH),
            "prototypes": jax.random.normal(three, (given.num_classes, _WIDTH)),
            "bias": jnp.zeros(given.num_classes),
        }

    def loss(outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        logits, features = outputs.logits[0], outputs.features[0]
        features = jnp.where(batch.epoch < detached, jax.lax.stop_gradient(features), features)
        directions = unit(product(jax.nn.relu(product(features, extra["first"])), extra["second"]))
        scores = class_scores(directions[0], extra["prototypes"], extra["bias"])
        low = tables["low"][batch.rows]
        consistent = low * (1 - jnp.sum(directions[0] * directions[1], axis=-1))
        own = jnp.take_along_axis(scores, batch.labels[:, None], axis=1)[:, 0]
        clean = jnp.where(batch.epoch < warmup, 1.0, jax.lax.stop_gradient(jax.nn.sigmoid(own)))
        guess = jax.lax.stop_gradient(sharpened(jnp.mean(jax.nn.softmax(logits), axis=0), _SHARPNESS))
        tables = tables | {
            "clean": write(tables["clean"], batch, clean),
            "guess": write(tables["guess"], batch, guess),
        }
        cleaned = cleaned_loss(logits, batch.targets, clean)
        return weighted_mean(cleaned + prototype_loss(scores, batch.labels, low) + consistent, batch, tables)

    def end(stats: Stats, tables: Tables, epoch: Int[Array, ""]) -> Tables:
        return tables | {"low": clean_probability(mean_loss(stats))}

    return Rule(
        loss=loss,
        start=start,
        extra=extra,
        extra_optimiser=optax.scale_by_adam(),
        extra_rate=1e-3,
        epoch_end=end,
        due=lambda epoch: epoch + 1 >= warmup,
        export=_findings,
        views=2,
        features=True,
    )


def _findings(tables: Tables, stats: Stats) -> Findings:
    return Findings(1 - tables["clean"], tables["clean"] < 0.5, tables["guess"], tables["clean"])
