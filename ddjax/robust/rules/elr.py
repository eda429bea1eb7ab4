"""Early-learning regularisation (Liu et al., 2020, arXiv:2007.00151): hold on to what was predicted early on."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.ranges import NonNegative, PartialShare, checked
from ddjax.robust.rule import Extra, Findings, Given, Loss, Out, Rule, Seen, Stats, Tables, mean, write
from ddjax.training.losses import cross_entropy
from ddjax.types import PRNGKey

_CLIP = 1e-4


def clipped(logits: Float[Array, "b k"]) -> Float[Array, "b k"]:
    """Probabilities kept away from 0 and 1, where the regulariser's logarithm has its pole."""
    return jnp.clip(jax.nn.softmax(logits), _CLIP, 1 - _CLIP)


def moved(memory: Float[Array, "b k"], logits: Float[Array, "b k"], momentum: float) -> Float[Array, "b k"]:
    """The running average of an image's own predictions, one visit on."""
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
    """Published as (0.7, 3) for CIFAR-10, (0.9, 1) with asymmetric noise and (0.9, 7) for CIFAR-100.

    `momentum` acts once per epoch on each image, before its loss; the memory starts at zero, so the regulariser does.
    """

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        return {"memory": jnp.zeros((len(given.labels), given.num_classes))}

    def loss(out: Out, seen: Seen, tables: Tables, extra: Extra) -> Loss:
        logits = out.logits[0, 0]
        memory = moved(tables["memory"][seen.rows], logits, momentum)
        tables = {"memory": write(tables["memory"], seen, memory)}
        return mean(elr_loss(logits, seen.targets, memory, strength), seen, tables)

    return Rule(loss=loss, start=start, export=_findings)


def _findings(tables: Tables, stats: Stats) -> Findings:
    total = jnp.sum(tables["memory"], axis=1, keepdims=True)
    uniform = jnp.full_like(tables["memory"], 1 / tables["memory"].shape[1])
    relabel = jnp.where(total > 0, tables["memory"] / jnp.where(total > 0, total, 1), uniform)
    own = jnp.take_along_axis(relabel, stats.labels[:, None], axis=1)[:, 0]
    return Findings(1 - own, jnp.argmax(relabel, axis=1) != stats.labels, relabel, own)
