"""Pseudo-loss selection (Albert et al., 2024, arXiv:2407.05528): correct doubted labels, weigh what replaces them.

LSA changes the detector: in every other epoch a linear separator on features says which labels are wrong.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ddjax.ranges import NonNegative, Positive, Share, checked
from ddjax.robust.mixture import clean_probability
from ddjax.robust.rule import Extra, Findings, Given, Loss, Out, Rule, Seen, Stats, Tables, mean, mean_loss
from ddjax.robust.rules.mixup import mix
from ddjax.robust.separator import separate
from ddjax.training.losses import cross_entropy
from ddjax.types import PRNGKey

_PER_CLASS = 2  # fewer doubted labels than this times the classes are too few for a mixture of their own


def sharpened(probabilities: Float[Array, "n k"], power: float) -> Float[Array, "n k"]:
    """Probabilities to a power, normalised again."""
    raised = probabilities**power
    return raised / jnp.sum(raised, axis=-1, keepdims=True)


def pseudo_weights(losses: Float[Array, "n"], flagged: Bool[Array, "n"], num_classes: int) -> Float[Array, "n"]:
    """1 for labels that are not flagged; for the others, the posterior of a low loss of their own pseudo-label.

    `losses` are those of the pseudo-labels. Where too few labels are flagged for a mixture, all weigh 1.
    """
    enough = jnp.sum(flagged) >= _PER_CLASS * num_classes
    return jnp.where(flagged & enough, clean_probability(losses, flagged | ~enough), 1.0)


def from_uniform(logits: Float[Array, "b k"], present: Float[Array, "b"]) -> Float[Array, ""]:
    """KL(uniform || the batch's mean probability)."""
    probabilities = jnp.sum(jax.nn.softmax(logits) * present[:, None], axis=0) / jnp.sum(present)
    return -jnp.mean(jnp.log(probabilities)) - jnp.log(logits.shape[-1])


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
    """Published values; `spread` adds `from_uniform`, `separator` makes it LSA (whose control is the rule without).

    LSA is published on a network pretrained without labels and on features of a middle stage; here it starts like the
    others, after the warm-up, and separates what the last layer reads. The contrastive term is left out.
    """

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        n = len(given.labels)
        return {
            "targets": jax.nn.one_hot(given.labels, given.num_classes),
            "weights": jnp.ones(n),
            "flagged": jnp.zeros(n, bool),
            "suspicion": jnp.zeros(n),
        }

    def prepare(key: PRNGKey, seen: Seen, tables: Tables) -> Seen:
        seen = seen._replace(targets=tables["targets"][seen.rows], weights=tables["weights"][seen.rows])
        return mix(key, seen, alpha, dominant=True)

    def loss(out: Out, seen: Seen, tables: Tables, extra: Extra) -> Loss:
        logits = out.logits[0, 0]
        even = jnp.where(seen.epoch >= warmup, from_uniform(logits, seen.present), 0.0) if spread else 0.0
        return mean(cross_entropy(logits, seen.targets), seen, tables, even)

    def end(stats: Stats, tables: Tables, epoch: Int[Array, ""]) -> Tables:
        return corrected(stats, epoch, confidence, sharpness, separator)

    return Rule(
        loss=loss,
        start=start,
        prepare=prepare,
        epoch_end=end,
        due=lambda epoch: epoch + 1 >= warmup,
        export=_findings,
        glances=2,
        features=separator,
    )


def corrected(stats: Stats, epoch: Int[Array, ""], confidence: float, sharpness: float, separator: bool) -> Tables:
    """Targets, weights and flags for the next epoch."""
    clean = clean_probability(mean_loss(stats))
    suspicion, flagged = 1 - clean, clean < 1 - confidence
    if separator:
        wrong = separate(stats.features[0], clean > confidence, flagged)
        flagged = jnp.where((epoch + 1) % 2 == 0, wrong > 0.5, flagged)  # counts for the epoch that follows
    k = stats.logits.shape[-1]
    guesses = sharpened(jnp.mean(jax.nn.softmax(stats.views[:, 0]), axis=0), sharpness)
    weights = pseudo_weights(cross_entropy(stats.logits[0], guesses), flagged, k)
    targets = jnp.where(flagged[:, None], guesses, jax.nn.one_hot(stats.labels, k))
    return {"targets": targets, "weights": weights, "flagged": flagged, "suspicion": suspicion}


def _findings(tables: Tables, stats: Stats) -> Findings:
    return Findings(tables["suspicion"], tables["flagged"], tables["targets"], tables["weights"])
