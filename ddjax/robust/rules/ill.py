"""Imprecise label learning with noisy labels (Chen et al., 2024, arXiv:2305.12715), as its authors' code has it."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.ranges import Positive, checked
from ddjax.robust.rule import Extra, Findings, Given, Loss, Out, Rule, Seen, Stats, Tables, from_probabilities, mean
from ddjax.types import PRNGKey

_BALANCE = 0.1


def noise_logits(weights: Float[Array, "k k"], scale: float) -> Float[Array, "k k"]:
    """Rows of length `scale`, so that no weights make the channel sharper than k classes and `scale` allow."""
    columns = weights.T / jnp.linalg.norm(weights.T, axis=0, keepdims=True)
    return scale * columns / jnp.linalg.norm(columns, axis=1, keepdims=True)


def posterior(
    logits: Float[Array, "b k"], channel: Float[Array, "k k"], labels: Int[Array, "b"]
) -> Float[Array, "b k"]:
    """log P(true | image, given label): prediction times the channel's column of the given label, normalised."""
    return jax.nn.log_softmax(jax.nn.log_softmax(logits) + jnp.log(channel.T[labels]))


def ill_loss(
    weak: Float[Array, "b k"],
    strong: Float[Array, "b k"],
    labels: Int[Array, "b"],
    weights: Float[Array, "k k"],
    scale: float,
    column_softmax: bool,
) -> Float[Array, "b"]:
    """Posterior consistency + the given label's likelihood + consistency of the two views.

    Only the likelihood ties the network to the labels; its gradient in the logits is that of the posterior's own
    cross-entropy, the exact step of expectation maximisation.
    """
    raw = noise_logits(weights, scale)
    channel = jax.nn.softmax(raw, axis=1)
    wanted = jnp.exp(jax.lax.stop_gradient(posterior(weak, channel, labels)))
    tilted = -jnp.sum(wanted * posterior(strong, channel, labels), axis=-1)
    observed = jax.nn.log_softmax(weak)[:, :, None] + jax.nn.log_softmax(raw, axis=0 if column_softmax else 1)[None]
    given = jax.nn.log_softmax(jax.nn.logsumexp(observed, axis=1))
    likelihood = -jnp.take_along_axis(given, labels[:, None], axis=1)[:, 0]
    own = jax.lax.stop_gradient(jax.nn.softmax(weak))
    return tilted + likelihood - jnp.sum(own * jax.nn.log_softmax(strong), axis=-1)


def balance(logits: Float[Array, "b k"], present: Float[Array, "b"]) -> Float[Array, ""]:
    """Mean over classes of - log of the batch's mean probability: least when every class is predicted alike often."""
    probabilities = jnp.sum(jax.nn.softmax(logits) * present[:, None], axis=0) / jnp.sum(present)
    return -jnp.mean(jnp.log(probabilities))


@checked
@functools.cache
def imprecise(scale: Positive = 1.0, strong: str = "dance_eval_noflip", column_softmax: bool = False) -> Rule:
    """A learned channel and two views. Published scale: 1 for ten classes, 2 to 2.5 for a hundred.

    `strong` is the augmentation of the second view (published: AutoAugment, which we do not have). `column_softmax`
    normalises the channel of the likelihood over true classes instead of given ones, as the published code does.
    The channel is a weak prior and no estimate of the noise.
    """

    def extra(key: PRNGKey, given: Given) -> Extra:
        return {"weights": jnp.eye(given.num_classes)}

    def loss(out: Out, seen: Seen, tables: Tables, extra: Extra) -> Loss:
        weak, strong = out.logits[0]
        each = ill_loss(weak, strong, seen.labels, extra["weights"], scale, column_softmax)
        return mean(each, seen, tables, _BALANCE * balance(weak, seen.present))

    return Rule(loss=loss, extra=extra, views=2, strong=strong, export=_findings)


def _findings(tables: Tables, stats: Stats) -> Findings:
    return from_probabilities(jax.nn.softmax(stats.logits[0]), stats)
