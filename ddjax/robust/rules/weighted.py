"""Training with a fixed weight per image, for example 0 for pruned images; programs keep one shape."""

import functools
from typing import Any

import jax.numpy as jnp

from ddjax.robust.rule import predictions
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Extra, Findings, Given, Loss, Outputs, Rule, Stats, Tables, weighted_mean
from ddjax.types import PRNGKey


@functools.cache
def weighted() -> Rule:
    """Cross-entropy weighted by the rule's data [n], 0 for pruned images; see `confident.class_weights`."""

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        if data is None or jnp.shape(data) != given.labels.shape:
            raise ValueError(f"data must be the weights [{len(given.labels)}] of the images; got {jnp.shape(data)}")
        return {"weights": jnp.asarray(data, jnp.float32)}

    def loss(outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        batch = batch._replace(weights=tables["weights"][batch.rows])
        return weighted_mean(cross_entropy(outputs.logits[0, 0], batch.targets), batch, tables)

    return Rule(loss=loss, start=start, export=_findings)


def _findings(tables: Tables, stats: Stats) -> Findings:
    return predictions(tables, stats)._replace(flagged=tables["weights"] == 0, weight=tables["weights"])
