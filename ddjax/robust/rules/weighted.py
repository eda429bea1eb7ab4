"""Training with a fixed weight per image: what a cleaner, an oracle or chance keeps, in programs of one shape."""

import functools
from typing import Any

import jax.numpy as jnp

from ddjax.robust.rule import Extra, Findings, Given, Loss, Out, Rule, Seen, Stats, Tables, mean, predictions
from ddjax.training.losses import cross_entropy
from ddjax.types import PRNGKey


@functools.cache
def weighted() -> Rule:
    """Cross-entropy weighted by the rule's data [n], zero for pruned images; see `confident.class_weights`."""

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        if data is None or jnp.shape(data) != given.labels.shape:
            raise ValueError(f"data must be the weights [{len(given.labels)}] of the images; got {jnp.shape(data)}")
        return {"weights": jnp.asarray(data, jnp.float32)}

    def loss(out: Out, seen: Seen, tables: Tables, extra: Extra) -> Loss:
        seen = seen._replace(weights=tables["weights"][seen.rows])
        return mean(cross_entropy(out.logits[0, 0], seen.targets), seen, tables)

    return Rule(loss=loss, start=start, export=_findings)


def _findings(tables: Tables, stats: Stats) -> Findings:
    return predictions(tables, stats)._replace(flagged=tables["weights"] == 0, weight=tables["weights"])
