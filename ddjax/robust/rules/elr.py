"""Early-learning regularisation (Liu et al., 2020, arXiv:2007.00151): stay close to early predictions."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.ranges import NonNegative, PartialShare, checked
from ddjax.robust.rule import from_totals, write
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Extra, Findings, Given, Loss, Outputs, Rule, Stats, Tables, weighted_mean
from ddjax.types import PRNGKey

_CLIP = 1e-4


def clipped(logits: Float[Array, "b k"]) -> Float[Array, "b k"]:
    """Probabilities, clipped away from 0 and 1 because the regulariser's logarithm diverges at 1."""
    return jnp.clip(jax.nn.softmax(logits), _CLIP, 1 - _CLIP)


def update_memory(memory: Float[Array, "b k"], logits: Float[Array, "b k"], momentum: float) -> Float[Array, "b k"]:
    """The running average of an image's predictions after one more visit."""
    now = jax.lax.stop_gradient(clipped(logits))
    return momentum * memory + (1 - momentum) * now / jnp.sum(now, axis=-1, keepdims=True)


def elr_loss(
    logits: Float[Array, "b k"], targets: Float[Array, "b k"], memory: Float[Array, "b k"], strength: float
) -> Float[Array, "b"]:
    """Cross-entropy + strength * log(1 - <memory, p>), which rewards agreement with the memory."""
    agreement = jnp.sum(jax.lax.stop_gradient(memory) * clipped(logits), axis=-1)
    return cross_entropy(logits, targets) + strength * jnp.log(1 - agreement)


@checked
@functools.cache
def elr(momentum: PartialShare = 0.7, strength: NonNegative = 3.0) -> Rule:
    """Early-learning regularisation.

    Published settings are (0.7, 3) for CIFAR-10, (0.9, 1) for asymmetric noise and (0.9, 7) for CIFAR-100.

    Args:
      momentum: of the memory, which each visit of an image updates before its loss. The memory starts at zero.
      strength: weight of the regulariser.

    Example:
      >>> from ddjax.robust.rules.elr import elr
      >>> elr(0.9, 7.0) is elr(0.9, 7.0)
      True
    """

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        return {"memory": jnp.zeros((len(given.labels), given.num_classes))}

    def loss(outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        logits = outputs.logits[0, 0]
        memory = update_memory(tables["memory"][batch.rows], logits, momentum)
        tables = {"memory": write(tables["memory"], batch, memory)}
        return weighted_mean(elr_loss(logits, batch.targets, memory, strength), batch, tables)

    return Rule(loss=loss, start=start, export=_findings)


def _findings(tables: Tables, stats: Stats) -> Findings:
    return from_totals(tables["memory"], stats)
