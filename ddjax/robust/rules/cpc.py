"""A class-prototype cleaner, reconstructed from the abstract of arXiv:2212.10766: its code and losses are not public.

Name it "CPC (our reconstruction)" in a table. It is the light form: one network, no semi-supervised trainer.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ddjax.precision import product
from ddjax.ranges import NonNegative, checked
from ddjax.robust.mixture import clean_probability
from ddjax.robust.rule import Extra, Findings, Given, Loss, Out, Rule, Seen, Stats, Tables, mean, mean_loss, write
from ddjax.robust.rules.pls import sharpened
from ddjax.training.losses import cross_entropy
from ddjax.types import PRNGKey

_WIDTH = 128
_TEMPERATURE = 0.1
_ENOUGH = 50  # labels of a class for a mixture of its own
_SHARPNESS = 2.0  # a temperature of one half


def class_scores(
    directions: Float[Array, "b e"], prototypes: Float[Array, "k e"], bias: Float[Array, "k"]
) -> Float[Array, "b k"]:
    """Logits of "this image belongs to that class": cosines less a threshold of the class, over the temperature."""
    return (product(_unit(directions), _unit(prototypes).T) - bias[None]) / _TEMPERATURE


def prototype_loss(scores: Float[Array, "b k"], labels: Int[Array, "b"], clean: Float[Array, "b"]) -> Float[Array, "b"]:
    """The given class's score is taught the mixture's posterior; other classes' are pushed down where it is high."""
    own = jax.nn.one_hot(labels, scores.shape[-1])
    for_own = optax.sigmoid_binary_cross_entropy(jnp.sum(own * scores, axis=1), jax.lax.stop_gradient(clean))
    others = jnp.sum((1 - own) * jax.nn.softplus(scores), axis=1) / (scores.shape[-1] - 1)
    return for_own + jax.lax.stop_gradient(clean) * others


def class_aware(losses: Float[Array, "n"], labels: Int[Array, "n"], num_classes: int) -> Float[Array, "n"]:
    """Posterior of a low loss within the given class; from all losses for classes of fewer than 50 labels."""

    def of_class(label: Array) -> Array:
        inside = labels == label
        enough = jnp.sum(inside) >= _ENOUGH
        return jnp.where(enough, clean_probability(losses, inside | ~enough), everywhere)

    everywhere = clean_probability(losses)
    every = jax.lax.map(of_class, jnp.arange(num_classes))
    return jnp.take_along_axis(every, labels[None], axis=0)[0]


def cleaned_loss(
    logits: Float[Array, "v b k"], targets: Float[Array, "b k"], clean: Float[Array, "b"]
) -> Float[Array, "b"]:
    """Cross-entropy with the given label as far as it is believed, else with the views' own sharpened mean."""
    guess = sharpened(jnp.mean(jax.nn.softmax(logits), axis=0), _SHARPNESS)
    target = clean[:, None] * targets + (1 - clean)[:, None] * guess
    return cross_entropy(logits[0], jax.lax.stop_gradient(target))


@checked
@functools.cache
def prototype_cleaner(warmup: NonNegative = 10.0, detached: NonNegative = 150.0) -> Rule:
    """Published warm-up: 10 epochs for ten classes, 30 for a hundred, of 300.

    Prototypes learn from the first step, believing every label until the warm-up ends. Until epoch `detached` they do
    not move the network: it would confirm its own partition.
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

    def loss(out: Out, seen: Seen, tables: Tables, extra: Extra) -> Loss:
        logits, features = out.logits[0], out.features[0]
        features = jnp.where(seen.epoch < detached, jax.lax.stop_gradient(features), features)
        directions = _unit(product(jax.nn.relu(product(features, extra["first"])), extra["second"]))
        scores = class_scores(directions[0], extra["prototypes"], extra["bias"])
        low = tables["low"][seen.rows]
        consistent = low * (1 - jnp.sum(directions[0] * directions[1], axis=-1))
        own = jnp.take_along_axis(scores, seen.labels[:, None], axis=1)[:, 0]
        clean = jnp.where(seen.epoch < warmup, 1.0, jax.lax.stop_gradient(jax.nn.sigmoid(own)))
        guess = jax.lax.stop_gradient(sharpened(jnp.mean(jax.nn.softmax(logits), axis=0), _SHARPNESS))
        tables = tables | {
            "clean": write(tables["clean"], seen, clean),
            "guess": write(tables["guess"], seen, guess),
        }
        each = cleaned_loss(logits, seen.targets, clean)
        return mean(each + prototype_loss(scores, seen.labels, low) + consistent, seen, tables)

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


def _unit(x: Array) -> Array:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
