"""Plain training that remembers how each label fared in every epoch: AUM and the mean-over-epochs margin."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.ranges import checked
from ddjax.robust.rule import from_totals, write
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Extra, Findings, Given, Loss, Outputs, Rule, Stats, Tables, weighted_mean
from ddjax.types import PRNGKey


def label_margin(values: Float[Array, "b k"], labels: Int[Array, "b"]) -> Float[Array, "b"]:
    """The value of the given label minus the largest other one."""
    own = jax.nn.one_hot(labels, values.shape[-1], dtype=bool)
    return jnp.sum(jnp.where(own, values, 0), axis=-1) - jnp.max(jnp.where(own, -jnp.inf, values), axis=-1)


@checked
@functools.cache
def margins(probabilities: bool = False) -> Rule:
    """Cross-entropy with the given labels; suspicious is a label whose margin is small in the mean over all epochs.

    The margins are those of the training passes, so they cost nothing and each precedes the step that learns from it.

    Args:
      probabilities: take margins of probabilities, which are bounded, instead of logits as in AUM.

    Returns:
      The rule. Its relabelling is the mean of the predicted probabilities over epochs.

    Example:
      >>> from ddjax.robust.rules.margins import margins
      >>> margins(False) is margins(False)
      True
    """

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        n = len(given.labels)
        return {"margin": jnp.zeros(n), "seen": jnp.zeros((n, given.num_classes))}

    def loss(outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        logits = outputs.logits[0, 0]
        now = jax.lax.stop_gradient(jax.nn.softmax(logits))
        margin = label_margin(now if probabilities else jax.lax.stop_gradient(logits), batch.labels)
        tables = {
            "margin": write(tables["margin"], batch, tables["margin"][batch.rows] + margin),
            "seen": write(tables["seen"], batch, tables["seen"][batch.rows] + now),
        }
        return weighted_mean(cross_entropy(logits, batch.targets), batch, tables)

    return Rule(loss=loss, start=start, export=_findings)


def _findings(tables: Tables, stats: Stats) -> Findings:
    visits = jnp.round(jnp.sum(tables["seen"], axis=1))  # each adds probabilities, whose sum is one
    return from_totals(tables["seen"], stats)._replace(suspicion=-tables["margin"] / jnp.maximum(visits, 1))
