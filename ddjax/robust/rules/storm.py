"""Self-taught meta loss rescaling (arXiv:2412.12955): label weights are learned while the network trains.

A small network, the rescaler, maps the training dynamics of a batch to weights of its labels. It minimises the weighted
loss of another batch of the same noisy data after the network's step with these weights. The published scripts multiply
by sum(loss) / sum(weight loss), which cancels the weights; here sums are divided by the sum of weights.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ddjax.models.convolution.conv import product
from ddjax.ranges import NonNegative, PartialShare, Positive, checked
from ddjax.robust.dynamics import COUNT, features
from ddjax.robust.rule import from_probabilities, write
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Extra, Findings, Given, Loss, Outputs, Rule, Stats, Tables
from ddjax.types import PRNGKey

_MEMORY = 0.9  # of the running average of a label's weight, per visit


def rescaler(key: PRNGKey) -> Extra:
    """Parameters of the layers 19 -> 19 -> 2, initialised like PyTorch's linear layers."""
    keys, bound = jax.random.split(key, 4), COUNT**-0.5
    shapes = {"in": (COUNT, COUNT), "in_bias": (COUNT,), "out": (COUNT, 2), "out_bias": (2,)}
    return {
        name: jax.random.uniform(k, shape, minval=-bound, maxval=bound)
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def rescale(extra: Extra, inputs: Float[Array, "b 19"], present: Float[Array, "b"]) -> Float[Array, "b"]:
    """Weights in (0, 1). Both layers are normalised over the batch, so a weight is relative to it."""
    hidden = jax.nn.relu(_normalised(product(inputs, extra["in"]) + extra["in_bias"][None], present))
    return jax.nn.softmax(_normalised(product(hidden, extra["out"]) + extra["out_bias"][None], present))[:, 1]


@checked
@functools.cache
def storm(warmup: NonNegative = 10.0, floor: PartialShare = 0.1, rate: Positive = 1e-2) -> Rule:
    """Meta loss rescaling. The rescaler learns from the first epoch on, by Adam, through the network's step.

    One rescaler serves all classes. Passes differ by their augmentation; without one, deviations are 0. Groups are
    those of the batch. The paper has results on text only.

    Args:
      warmup: the epoch from which the weights count.
      floor: the smallest weight.
      rate: the rescaler's learning rate.
    """

    def weigh(outputs: Outputs, batch: Batch, extra: Extra) -> Float[Array, "b"]:
        return rescale(extra, features(outputs.logits[0], batch.labels, batch.present), batch.present)

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        nothing = jnp.zeros(len(given.labels))
        return {"total": nothing, "mass": nothing}

    def loss(outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        learned = weigh(outputs, batch, extra)
        used = jnp.where(batch.epoch < warmup, 1.0, jnp.maximum(learned, floor))
        newest = {"total": jax.lax.stop_gradient(learned), "mass": jnp.ones_like(learned)}
        tables = {
            name: write(table, batch, _MEMORY * table[batch.rows] + (1 - _MEMORY) * newest[name])
            for name, table in tables.items()
        }
        values = cross_entropy(outputs.logits[0, 0], batch.targets)
        return Loss(values[None], used[None], jnp.zeros((), values.dtype), tables)

    def meta(before: Outputs, after: Outputs, batch: Batch, extra: Extra) -> Float[Array, ""]:
        weights = weigh(before, batch, extra)
        return jnp.sum(weights * cross_entropy(after.logits[0, 0], batch.targets)) / jnp.sum(weights)

    return Rule(
        loss=loss,
        start=start,
        extra=lambda key, given: rescaler(key),
        extra_optimiser=optax.scale_by_adam(),
        extra_rate=rate,
        meta=meta,
        views=3,
        export=_findings,
    )


def _findings(tables: Tables, stats: Stats) -> Findings:
    # an average over the visits alone: one that starts at a weight of 1 could flag no label in six visits
    seen = tables["mass"] > 0
    weights = jnp.where(seen, tables["total"] / jnp.where(seen, tables["mass"], 1), 1.0)
    findings = from_probabilities(jax.nn.softmax(stats.logits[0]), stats)
    return findings._replace(suspicion=1 - weights, flagged=weights < 0.5, weight=weights)


def _normalised(x: Float[Array, "b d"], present: Float[Array, "b"]) -> Float[Array, "b d"]:
    count = jnp.maximum(jnp.sum(present), 1)
    mean = jnp.sum(x * present[:, None], axis=0, keepdims=True) / count
    variance = jnp.sum((x - mean) ** 2 * present[:, None], axis=0, keepdims=True) / count
    return (x - mean) / jnp.sqrt(variance + 1e-5)
