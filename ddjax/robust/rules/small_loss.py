"""Training on images of small loss: one network selects for itself, or two networks select for each other."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.ranges import NonNegative, PartialShare, checked
from ddjax.robust.rule import mean_loss
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Extra, Findings, Loss, Outputs, Rule, Stats, Tables

_ROUNDING = 1e-4  # tolerance, so that an integer number of rows is not rounded down


def smallest(losses: Float[Array, "b"], present: Float[Array, "b"], share: Float[Array, ""] | float) -> Array:
    """1 for the floor(share * rows present) smallest losses, at least one, else 0. The share may be traced."""
    rank = jnp.argsort(jnp.argsort(jnp.where(present > 0, losses, jnp.inf)))
    count = jnp.maximum(jnp.floor(share * jnp.sum(present) + _ROUNDING), 1)
    return (rank < count).astype(losses.dtype) * (present > 0)


def kept_share(epoch: Int[Array, ""], forget: float, ramp: float) -> Float[Array, ""]:
    """The share of a batch that is kept: it falls from 1 to 1 - forget within `ramp` epochs."""
    return 1 - (jnp.minimum(forget * epoch / ramp, forget) if ramp else jnp.float32(forget))


def largest_flagged(forget: float, tables: Tables, stats: Stats) -> Findings:
    """Findings that flag the share `forget` of the set with the largest loss."""
    suspicion = mean_loss(stats)
    kept = smallest(suspicion, jnp.ones_like(suspicion), 1 - forget)
    relabel = jnp.mean(jax.nn.softmax(stats.logits), axis=0)
    return Findings(suspicion, kept == 0, relabel, kept)


@checked
@functools.cache
def small_loss(forget: PartialShare = 0.2, ramp: NonNegative = 10.0) -> Rule:
    """In each batch only the share 1 - `forget` of smallest loss counts.

    Args:
      forget: the (estimated) share of wrong labels.
      ramp: number of epochs in which the share falls from 1.
    """
    return _selecting(forget, ramp, 1)


@checked
@functools.cache
def coteaching(forget: PartialShare = 0.2, ramp: NonNegative = 10.0) -> Rule:
    """Two networks; each trains on the rows of small loss of the other (Han et al., 2018, arXiv:1804.06872).

    The published code divides the mean loss by the number of kept rows a second time; here it is the mean.

    Args:
      forget: the (estimated) share of wrong labels.
      ramp: number of epochs in which the kept share falls from 1.
    """
    return _selecting(forget, ramp, 2)


def _selecting(forget: float, ramp: float, nets: int) -> Rule:
    def loss(outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        return exchanged(outputs, batch, tables, kept_share(batch.epoch, forget, ramp))

    return Rule(loss=loss, nets=nets, export=functools.partial(largest_flagged, forget))


def exchanged(outputs: Outputs, batch: Batch, tables: Tables, share: Float[Array, ""] | float) -> Loss:
    """Cross-entropy of each network on the rows where its peer (or itself, if alone) has the smallest loss."""
    values = jax.vmap(lambda logits: cross_entropy(logits, batch.targets))(outputs.logits[:, 0])
    chosen = jax.vmap(lambda losses: smallest(losses, batch.present, share))(jax.lax.stop_gradient(values))
    return Loss(values, jnp.flip(chosen, axis=0), jnp.zeros((), values.dtype), tables)
