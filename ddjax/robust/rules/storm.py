"""Self-taught meta loss rescaling (arXiv:2412.12955): learn, while training, how much each label should weigh.

A small rescaler reads how a batch is doing and weighs its labels. It is trained so that, after the network's step with
these weights, the weighted loss of another batch of the same noisy data is low. The published scripts that multiply by
sum(loss) / sum(weight loss) cancel the weights; here sums are divided by the sum of weights.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ddjax.precision import product
from ddjax.ranges import NonNegative, PartialShare, Positive, checked
from ddjax.robust.dynamics import COUNT, features
from ddjax.robust.rule import Extra, Findings, Given, Loss, Out, Rule, Seen, Stats, Tables, from_probabilities, write
from ddjax.training.losses import cross_entropy
from ddjax.types import PRNGKey

_MEMORY = 0.9  # of a label's weight, per visit


def rescaler(key: PRNGKey) -> Extra:
    """Parameters of 19 -> 19 -> 2, uniform as PyTorch starts a linear layer."""
    keys, bound = jax.random.split(key, 4), COUNT**-0.5
    shapes = {"in": (COUNT, COUNT), "in_bias": (COUNT,), "out": (COUNT, 2), "out_bias": (2,)}
    return {
        name: jax.random.uniform(k, shape, minval=-bound, maxval=bound)
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def rescale(extra: Extra, read: Float[Array, "b 19"], present: Float[Array, "b"]) -> Float[Array, "b"]:
    """Weights in (0, 1). Both layers are normalised over the batch, so a weight says how a label compares in it."""
    hidden = jax.nn.relu(_normalised(product(read, extra["in"]) + extra["in_bias"][None], present))
    return jax.nn.softmax(_normalised(product(hidden, extra["out"]) + extra["out_bias"][None], present))[:, 1]


@checked
@functools.cache
def storm(warmup: NonNegative = 10.0, floor: PartialShare = 0.1, rate: Positive = 1e-2) -> Rule:
    """The rescaler learns by Adam at `rate`, through the network's own step, from the first epoch on.

    Its weights, at least `floor`, count from epoch `warmup` on. One rescaler for all classes; passes differ by their
    augmentation (without one, deviations are 0 and say nothing); groups are those of the batch. Published on text
    only, so there is no image result to match.
    """

    def weigh(out: Out, seen: Seen, extra: Extra) -> Float[Array, "b"]:
        return rescale(extra, features(out.logits[0], seen.labels, seen.present), seen.present)

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        return {"weights": jnp.ones(len(given.labels))}

    def loss(out: Out, seen: Seen, tables: Tables, extra: Extra) -> Loss:
        learned = weigh(out, seen, extra)
        used = jnp.where(seen.epoch < warmup, 1.0, jnp.maximum(learned, floor))
        averaged = _MEMORY * tables["weights"][seen.rows] + (1 - _MEMORY) * jax.lax.stop_gradient(learned)
        tables = {"weights": write(tables["weights"], seen, averaged)}
        each = cross_entropy(out.logits[0, 0], seen.targets)
        return Loss(each[None], used[None], jnp.zeros((), each.dtype), tables)

    def meta(before: Out, after: Out, seen: Seen, extra: Extra) -> Float[Array, ""]:
        weights = weigh(before, seen, extra)
        return jnp.sum(weights * cross_entropy(after.logits[0, 0], seen.targets)) / jnp.sum(weights)

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
    weights = tables["weights"]
    found = from_probabilities(jax.nn.softmax(stats.logits[0]), stats)
    return found._replace(suspicion=1 - weights, flagged=weights < 0.5, weight=weights)


def _normalised(x: Float[Array, "b d"], present: Float[Array, "b"]) -> Float[Array, "b d"]:
    count = jnp.maximum(jnp.sum(present), 1)
    mean = jnp.sum(x * present[:, None], axis=0, keepdims=True) / count
    variance = jnp.sum((x - mean) ** 2 * present[:, None], axis=0, keepdims=True) / count
    return (x - mean) / jnp.sqrt(variance + 1e-5)
