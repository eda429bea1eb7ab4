"""A mixture of two Gaussians in one dimension, for the losses of right and of wrong labels."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_CLIP = 0.999  # losses are clipped at this quantile, because one outlier would compress the others
_FLOOR = 5e-4  # is added to the variances in each step
_STEPS = 50


class Mixture(NamedTuple):
    """Parameters of both components; the one with the lower mean is first."""

    means: Float[Array, "2"]
    variances: Float[Array, "2"]
    shares: Float[Array, "2"]


def fitted(values: Float[Array, "n"], member: Float[Array, "n"], ordered: Float[Array, "n"]) -> Mixture:
    """Fit a mixture to the members by a fixed number of deterministic steps of expectation maximisation.

    The start is the 10 % and 90 % quantiles; if these are equal, the smallest and largest value, because two equal
    components stay equal.

    Args:
      values: all values.
      member: 1 for the values that count, else 0.
      ordered: the members in order, then infinity.
    """
    total = jnp.maximum(jnp.sum(member), 1)
    centre = jnp.sum(member * values) / total
    spread = jnp.sum(member * (values - centre) ** 2) / total
    inner, outer = (jnp.stack([_quantile(ordered, member, q) for q in pair]) for pair in ((0.1, 0.9), (0.0, 1.0)))
    apart = jnp.diff(inner) > jnp.finfo(values.dtype).eps * jnp.diff(outer)  # by more than rounding
    first = Mixture(
        jnp.where(apart, inner, outer),
        jnp.full(2, spread + _FLOOR, values.dtype),
        jnp.full(2, 0.5, values.dtype),
    )

    def step(_: Array, mixture: Mixture) -> Mixture:
        belongs = member[:, None] * jax.nn.softmax(_log_densities(values, mixture), axis=1)
        counts = jnp.sum(belongs, axis=0) + jnp.finfo(values.dtype).tiny
        means = jnp.sum(belongs * values[:, None], axis=0) / counts
        spread = jnp.sum(belongs * (values[:, None] - means[None]) ** 2, axis=0) / counts
        return Mixture(means, spread + _FLOOR, counts / total)

    mixture = jax.lax.fori_loop(0, _STEPS, step, first)
    order = jnp.argsort(mixture.means)
    return jax.tree.map(lambda x: x[order], mixture)


def clean_probability(losses: Float[Array, "n"], among: Bool[Array, "n"] | None = None) -> Float[Array, "n"]:
    """Posterior of the low component for each loss, after scaling so that the losses in `among` are in [0, 1].

    It is 1 below the mean of that component, where a wider high component could exceed it.

    Args:
      losses: of the given labels.
      among: the losses that count, at least one; None for all.
    """
    member = jnp.ones_like(losses) if among is None else among.astype(losses.dtype)
    ordered = _ordered(losses, member)
    low, high = _quantile(ordered, member, 0.0), _quantile(ordered, member, _CLIP)

    def scaled(losses: Array) -> Array:
        return jnp.clip((losses - low) / jnp.maximum(high - low, jnp.finfo(losses.dtype).tiny), 0, 1)

    values = scaled(losses)
    mixture = fitted(values, member, scaled(ordered))  # scaling keeps the order
    posterior = jax.nn.softmax(_log_densities(values, mixture), axis=1)[:, 0]
    return jnp.where(values <= mixture.means[0], 1.0, posterior)


def _ordered(values: Array, member: Array) -> Array:
    """The members in order, then infinity; a TPU's compiler takes ten seconds for each sort."""
    return jnp.sort(jnp.where(member > 0, values, jnp.inf), stable=False)


def _quantile(ordered: Float[Array, "n"], member: Float[Array, "n"], q: float) -> Float[Array, ""]:
    """The smallest member that at least a share q of the members do not exceed."""
    place = jnp.ceil(q * jnp.sum(member)).astype(jnp.int32) - 1
    return ordered[jnp.maximum(place, 0)]


def _log_densities(values: Float[Array, "n"], mixture: Mixture) -> Float[Array, "n 2"]:
    """log(share * density) of each component, up to a constant."""
    distance = (values[:, None] - mixture.means[None]) ** 2 / mixture.variances[None]
    return jnp.log(mixture.shares)[None] - 0.5 * (distance + jnp.log(mixture.variances)[None])
