"""Imprecise label learning with noisy labels (Chen et al., 2024, arXiv:2305.12715), after its authors' code."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.ranges import Positive, checked
from ddjax.robust.rule import from_probabilities, from_uniform
from ddjax.training.rule import Batch, Extra, Findings, Given, Loss, Outputs, Rule, Stats, Tables, weighted_mean
from ddjax.types import PRNGKey

_BALANCE = 0.1  # weight of `from_uniform`, by which no class is predicted too rarely


def noise_logits(weights: Float[Array, "k k"], scale: float) -> Float[Array, "k k"]:
    """Rows of length `scale`, which bounds how sharp the channel can become."""
    columns = weights.T / jnp.linalg.norm(weights.T, axis=0, keepdims=True)
    return scale * columns / jnp.linalg.norm(columns, axis=1, keepdims=True)


def posterior(
    logits: Float[Array, "b k"], channel: Float[Array, "k k"], labels: Int[Array, "b"]
) -> Float[Array, "b k"]:
    """log P(true | image, given label): the prediction times the channel's column of the given label, normalised."""
    return jax.nn.log_softmax(jax.nn.log_softmax(logits) + jnp.log(channel.T[labels]))


def ill_loss(
    weak: Float[Array, "b k"],
    strong: Float[Array, "b k"],
    labels: Int[Array, "b"],
    weights: Float[Array, "k k"],
    scale: float,
) -> Float[Array, "b"]:
    """Consistency of the posterior + negative log likelihood of the given label + consistency of the two views.

    Only the likelihood depends on the labels through the network. Its gradient in the logits is that of the
    cross-entropy with the posterior, which is the exact step of expectation maximisation.
    """
    raw = noise_logits(weights, scale)
    channel = jax.nn.softmax(raw, axis=1)
    target = jnp.exp(jax.lax.stop_gradient(posterior(weak, channel, labels)))
    of_posterior = -jnp.sum(target * posterior(strong, channel, labels), axis=-1)
    observed = jax.nn.log_softmax(weak)[:, :, None] + jax.nn.log_softmax(raw, axis=1)[None]
    given = jax.nn.log_softmax(jax.nn.logsumexp(observed, axis=1))
    likelihood = -jnp.take_along_axis(given, labels[:, None], axis=1)[:, 0]
    own = jax.lax.stop_gradient(jax.nn.softmax(weak))
    return of_posterior + likelihood - jnp.sum(own * jax.nn.log_softmax(strong), axis=-1)


@checked
@functools.cache
def imprecise(scale: Positive = 1.0, strong: str = "dance_eval_noflip") -> Rule:
    """A learned channel and two views. The channel is a weak prior and not an estimate of the noise.

    Args:
      scale: published as 1 for ten classes and 2 to 2.5 for a hundred.
      strong: augmentation of the second view. The paper uses AutoAugment, which ddjax does not have.
    """

    def extra(key: PRNGKey, given: Given) -> Extra:
        return {"weights": jnp.eye(given.num_classes)}

    def loss(outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        weak, strong = outputs.logits[0]
        values = ill_loss(weak, strong, batch.labels, extra["weights"], scale)
        return weighted_mean(values, batch, tables, _BALANCE * from_uniform(weak, batch.present))

    return Rule(loss=loss, extra=extra, views=2, strong=strong, export=_findings)


def _findings(tables: Tables, stats: Stats) -> Findings:
    return from_probabilities(jax.nn.softmax(stats.logits[0]), stats)
