"""Training on the images of small loss: one network's own choice, or two networks choosing for each other."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.ranges import NonNegative, PartialShare, checked
from ddjax.robust.rule import Extra, Findings, Loss, Out, Rule, Seen, Stats, Tables, mean_loss
from ddjax.training.losses import cross_entropy

_ROUNDING = 1e-4  # a share of rows that is whole but for rounding is whole


def smallest(losses: Float[Array, "b"], present: Float[Array, "b"], share: Float[Array, ""] | float) -> Array:
    """1 for the floor(share * rows present) smallest losses, at least one, and 0 elsewhere; share may be traced."""
    rank = jnp.argsort(jnp.argsort(jnp.where(present > 0, losses, jnp.inf)))
    count = jnp.maximum(jnp.floor(share * jnp.sum(present) + _ROUNDING), 1)
    return (rank < count).astype(losses.dtype) * (present > 0)


def remembered(epoch: Int[Array, ""], forget: float, ramp: float) -> Float[Array, ""]:
    """The share of a batch that is kept: from all of it down to 1 - forget after `ramp` epochs."""
    return 1 - (jnp.minimum(forget * epoch / ramp, forget) if ramp else jnp.float32(forget))


def largest_flagged(forget: float, tables: Tables, stats: Stats) -> Findings:
    """The share `forget` of the set with the largest loss is flagged."""
    suspicion = mean_loss(stats)
    kept = smallest(suspicion, jnp.ones_like(suspicion), 1 - forget)
    relabel = jnp.mean(jax.nn.softmax(stats.logits), axis=0)
    return Findings(suspicion, kept == 0, relabel, kept)


@checked
@functools.cache
def small_loss(forget: PartialShare = 0.2, ramp: NonNegative = 10.0) -> Rule:
    """In each batch only the 1 - `forget` of smallest loss count; `forget` is the (estimated) share of wrong labels."""
    return _selecting(forget, ramp, 1)


@checked
@functools.cache
def coteaching(forget: PartialShare = 0.2, ramp: NonNegative = 10.0) -> Rule:
    """Two networks; each trains on the rows that the other finds easy (Han et al., 2018, arXiv:1804.06872).

    The published code divides the mean loss by the number of kept rows once more; here it is their mean.
    """
    return _selecting(forget, ramp, 2)


def _selecting(forget: float, ramp: float, nets: int) -> Rule:
    def loss(out: Out, seen: Seen, tables: Tables, extra: Extra) -> Loss:
        return exchanged(out, seen, tables, remembered(seen.epoch, forget, ramp))

    return Rule(loss=loss, nets=nets, export=functools.partial(largest_flagged, forget))


def exchanged(out: Out, seen: Seen, tables: Tables, share: Float[Array, ""] | float) -> Loss:
    """Cross-entropy of each network on the rows that its peer (or, alone, itself) has the smallest loss on."""
    each = jax.vmap(lambda logits: cross_entropy(logits, seen.targets))(out.logits[:, 0])
    chosen = jax.vmap(lambda losses: smallest(losses, seen.present, share))(jax.lax.stop_gradient(each))
    return Loss(each, jnp.flip(chosen, axis=0), jnp.zeros((), each.dtype), tables)
