"""Parts that robust rules share: losses, pseudo-labels, tables with a row per image, and findings."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Findings, Rule, Stats, Tables, weighted_mean


def simple(loss: Callable[[Float[Array, "b k"], Float[Array, "b k"]], Float[Array, "b"]]) -> Rule:
    """The rule of a loss of (logits, targets) per image: one network, one view, no memory."""

    def of_batch(outputs, batch, tables, extra):
        return weighted_mean(loss(outputs.logits[0, 0], batch.targets), batch, tables)

    return Rule(loss=of_batch, export=predictions)


def predictions(tables: Tables, stats: Stats) -> Findings:
    """Findings of a rule without memory: the loss of the given label, flagged if the networks predict another."""
    return from_probabilities(jnp.mean(jax.nn.softmax(stats.logits), axis=0), stats)


def from_probabilities(relabel: Float[Array, "n k"], stats: Stats) -> Findings:
    """The mean loss over networks as suspicion. A label is flagged if `relabel` prefers another."""
    flagged = jnp.argmax(relabel, axis=1) != stats.labels
    return Findings(mean_loss(stats), flagged, relabel, 1.0 - flagged)


def from_totals(totals: Float[Array, "n k"], stats: Stats) -> Findings:
    """Findings from the sum of the predictions for each image. An image without a prediction is not flagged."""
    total = jnp.sum(totals, axis=1, keepdims=True)
    seen = total > 0
    relabel = jnp.where(seen, totals / jnp.where(seen, total, 1), 1 / totals.shape[1])
    own = jnp.take_along_axis(relabel, stats.labels[:, None], axis=1)[:, 0]
    return Findings(1 - own, seen[:, 0] & (jnp.argmax(relabel, axis=1) != stats.labels), relabel, own)


def mean_loss(stats: Stats) -> Float[Array, "n"]:
    """Cross-entropy of the given labels, averaged over networks."""
    one_hot = jax.nn.one_hot(stats.labels, stats.logits.shape[-1])
    return jnp.mean(jax.vmap(lambda logits: cross_entropy(logits, one_hot))(stats.logits), axis=0)


def from_uniform(logits: Float[Array, "b k"], present: Float[Array, "b"]) -> Float[Array, ""]:
    """KL(uniform || the batch's mean probability)."""
    probabilities = jnp.sum(jax.nn.softmax(logits) * present[:, None], axis=0) / jnp.sum(present)
    return -jnp.mean(jnp.log(probabilities)) - jnp.log(logits.shape[-1])


def sharpened(probabilities: Float[Array, "n k"], power: float) -> Float[Array, "n k"]:
    """Probabilities raised to a power and normalised."""
    raised = probabilities**power
    return raised / jnp.sum(raised, axis=-1, keepdims=True)


def write(table: Array, batch: Batch, values: Array) -> Array:
    """The table with the rows of the batch replaced. Rows that only pad the batch change nothing."""
    rows = jnp.where(batch.present > 0, batch.rows, len(table))
    return table.at[rows].set(values, mode="drop")
