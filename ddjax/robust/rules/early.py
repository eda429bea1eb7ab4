"""Cross-validated training that stops where it agrees best with held-out given labels."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax.robust.held_out import stratified_folds
from ddjax.robust.rule import predictions
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Extra, Findings, Given, Loss, Outputs, Rule, Stats, Tables, weighted_mean
from ddjax.types import PRNGKey


class Parts(NamedTuple):
    """What a network trains on and what decides when it stops, 1 or 0 for each row; it predicts the other rows."""

    train: Float[Array, "n"]
    stop: Float[Array, "n"]


def parts(labels: Int[np.ndarray, "n"], folds: int, seed: int) -> Parts:
    """The parts of the network of each fold, stacked: a fold is predicted, a tenth of the rest decides when to stop.

    Args:
      labels: as given; every part has its share of each class.
      folds: their number.
      seed: of the assignment.

    Returns:
      Leaves [folds n].
    """
    fold = stratified_folds(labels, folds, seed)
    tenth = stratified_folds(labels, max(2, min(len(labels), 10)), (seed + 1) % 2**32)
    held = np.arange(folds)[:, None] == fold[None]
    stop = ~held & (tenth == 0)[None]
    return Parts(jnp.asarray(~held & ~stop, jnp.float32), jnp.asarray(stop, jnp.float32))


@functools.cache
def early_stopped() -> Rule:
    """Cross-entropy on a part of the rows; the findings are predictions of the epoch that agrees best with another.

    The rule's data are `Parts`. Without rows to stop by, as in some folds of a few dozen rows, the last epoch counts.
    Every epoch predicts all rows, which costs a third of its training.
    """

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        if not isinstance(data, Parts) or any(jnp.shape(leaf) != given.labels.shape for leaf in data):
            raise ValueError("data must be the parts of the rows: robust.rules.early.parts makes them")
        logits = jnp.zeros((len(given.labels), given.num_classes))
        return {"train": data.train, "stop": data.stop, "best": jnp.float32(jnp.inf), "logits": logits}

    def loss(outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        batch = batch._replace(weights=tables["train"][batch.rows])
        return weighted_mean(cross_entropy(outputs.logits[0, 0], batch.targets), batch, tables)

    def end(stats: Stats, tables: Tables, epoch: Int[Array, ""]) -> Tables:
        logits = stats.logits[0]
        losses = cross_entropy(logits, jax.nn.one_hot(stats.labels, logits.shape[1]))
        held = jnp.sum(tables["stop"] * losses) / jnp.maximum(jnp.sum(tables["stop"]), 1)
        better = (held < tables["best"]) | ~jnp.any(tables["stop"] > 0)
        best = {"best": jnp.where(better, held, tables["best"]), "logits": jnp.where(better, logits, tables["logits"])}
        return tables | best

    return Rule(loss=loss, start=start, epoch_end=end, export=_findings)


def _findings(tables: Tables, stats: Stats) -> Findings:
    return predictions(tables, stats._replace(logits=tables["logits"][None]))  # those of the last epoch play no part
