"""Pseudo-loss selection (Albert et al., 2024, arXiv:2407.05528): weighted pseudo-labels replace doubtful labels.

LSA changes the detector: in every second epoch a linear separator on features detects the wrong labels.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ddjax.ranges import NonNegative, Positive, Share, checked
from ddjax.robust.mixture import clean_probability
from ddjax.robust.rule import from_uniform, mean_loss, sharpened
from ddjax.robust.rules.mixup import mix
from ddjax.robust.separator import separate
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Extra, Findings, Given, Loss, Outputs, Rule, Stats, Tables, weighted_mean
from ddjax.types import PRNGKey

_PER_CLASS = 2  # a mixture on flagged labels needs at least this many per class


def pseudo_weights(losses: Float[Array, "n"], flagged: Bool[Array, "n"], num_classes: int) -> Float[Array, "n"]:
    """1 for labels that are not flagged; for the others, the posterior that the loss of the pseudo-label is low.

    Returns:
      The weights; all are 1 if too few labels are flagged for a mixture.
    """
    enough = jnp.sum(flagged) >= _PER_CLASS * num_classes
    return jnp.where(flagged & enough, clean_probability(losses, flagged | ~enough), 1.0)


@checked
@functools.cache
def pls(
    warmup: NonNegative = 30.0,
    confidence: Share = 0.95,
    sharpness: Positive = 2.0,
    alpha: NonNegative = 1.0,
    spread: bool = True,
    separator: bool = False,
) -> Rule:
    """Pseudo-loss selection, with the published values as defaults.

    LSA is published for a network pretrained without labels and for features of a middle stage. Here it starts from a
    new network, after the warm-up, and separates the inputs of the last layer. The contrastive term is left out.

    Args:
      warmup: number of epochs before the first correction.
      confidence: a label is flagged if its probability to be right is below 1 - confidence.
      sharpness: power that sharpens pseudo-labels.
      alpha: of mixup.
      spread: add `from_uniform` to the loss.
      separator: detect wrong labels by LSA; its control is the rule with `spread=False` alone.
    """

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        n = len(given.labels)
        return {
            "targets": jax.nn.one_hot(given.labels, given.num_classes),
            "weights": jnp.ones(n),
            "flagged": jnp.zeros(n, bool),
            "suspicion": jnp.zeros(n),
        }

    def prepare(key: PRNGKey, batch: Batch, tables: Tables) -> Batch:
        batch = batch._replace(targets=tables["targets"][batch.rows], weights=tables["weights"][batch.rows])
        return mix(key, batch, alpha, dominant=True)

    def loss(outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        logits = outputs.logits[0, 0]
        even = jnp.where(batch.epoch >= warmup, from_uniform(logits, batch.present), 0.0) if spread else 0.0
        return weighted_mean(cross_entropy(logits, batch.targets), batch, tables, even)

    def end(stats: Stats, tables: Tables, epoch: Int[Array, ""]) -> Tables:
        return corrected(stats, epoch, confidence, sharpness, separator)

    return Rule(
        loss=loss,
        start=start,
        prepare=prepare,
        epoch_end=end,
        due=lambda epoch: epoch + 1 >= warmup,
        export=_findings,
        stats_views=2,
        features=separator,
    )


def corrected(stats: Stats, epoch: Int[Array, ""], confidence: float, sharpness: float, separator: bool) -> Tables:
    """Targets, weights and flags for the next epoch."""
    clean = clean_probability(mean_loss(stats))
    suspicion, flagged = 1 - clean, clean < 1 - confidence
    if separator:
        wrong = separate(stats.features[0], clean > confidence, flagged)
        flagged = jnp.where((epoch + 1) % 2 == 0, wrong > 0.5, flagged)  # takes effect in the next epoch
    k = stats.logits.shape[-1]
    guesses = sharpened(jnp.mean(jax.nn.softmax(stats.views[:, 0]), axis=0), sharpness)
    weights = pseudo_weights(cross_entropy(stats.logits[0], guesses), flagged, k)
    targets = jnp.where(flagged[:, None], guesses, jax.nn.one_hot(stats.labels, k))
    return {"targets": targets, "weights": weights, "flagged": flagged, "suspicion": suspicion}


def _findings(tables: Tables, stats: Stats) -> Findings:
    return Findings(tables["suspicion"], tables["flagged"], tables["targets"], tables["weights"])
