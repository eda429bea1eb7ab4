"""Two Gaussians on a line, by a fixed number of deterministic steps: losses of right labels and of wrong ones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_CLIP = 0.999  # losses past this quantile count as it: one outlier should not squeeze the rest


class Mixture(NamedTuple):
    """The low component first."""

    means: Float[Array, "2"]
    variances: Float[Array, "2"]
    shares: Float[Array, "2"]


def fit_mixture(
    values: Float[Array, "n"], among: Bool[Array, "n"] | None = None, iterations: int = 50, floor: float = 5e-4
) -> Mixture:
    """Expectation maximisation from the 10 % and 90 % quantiles; `floor` is added to the variances in every step.

    Only the values `among` which it is true count; at least one must be.
    """
    member = jnp.ones_like(values) if among is None else among.astype(values.dtype)
    total = jnp.maximum(jnp.sum(member), 1)
    centre = jnp.sum(member * values) / total
    spread = jnp.sum(member * (values - centre) ** 2) / total
    first = Mixture(
        jnp.stack([_quantile(values, member, 0.1), _quantile(values, member, 0.9)]),
        jnp.full(2, spread + floor, values.dtype),
        jnp.full(2, 0.5, values.dtype),
    )

    def step(_: Array, found: Mixture) -> Mixture:
        belongs = member[:, None] * jax.nn.softmax(_log_densities(values, found), axis=1)
        counts = jnp.sum(belongs, axis=0) + jnp.finfo(values.dtype).tiny
        means = jnp.sum(belongs * values[:, None], axis=0) / counts
        spread = jnp.sum(belongs * (values[:, None] - means[None]) ** 2, axis=0) / counts
        return Mixture(means, spread + floor, counts / total)

    found = jax.lax.fori_loop(0, iterations, step, first)
    order = jnp.argsort(found.means)
    return jax.tree.map(lambda x: x[order], found)


def probability_low(values: Float[Array, "n"], mixture: Mixture) -> Float[Array, "n"]:
    """Posterior of the low component, and 1 left of its mean, where a wider high component could take over again."""
    posterior = jax.nn.softmax(_log_densities(values, mixture), axis=1)[:, 0]
    return jnp.where(values <= mixture.means[0], 1.0, posterior)


def clean_probability(losses: Float[Array, "n"], among: Bool[Array, "n"] | None = None) -> Float[Array, "n"]:
    """Posterior that a loss is of the low component, all scaled so that those `among` which one looks are in [0, 1]."""
    member = jnp.ones_like(losses) if among is None else among.astype(losses.dtype)
    low, high = _quantile(losses, member, 0.0), _quantile(losses, member, _CLIP)
    scaled = jnp.clip((losses - low) / jnp.maximum(high - low, jnp.finfo(losses.dtype).tiny), 0, 1)
    return probability_low(scaled, fit_mixture(scaled, among))


def _quantile(values: Float[Array, "n"], member: Float[Array, "n"], q: float) -> Float[Array, ""]:
    """The smallest member that at least a share q of the members do not exceed; repeating them all changes nothing."""
    ordered = jnp.sort(jnp.where(member > 0, values, jnp.inf))
    place = jnp.ceil(q * jnp.sum(member)).astype(jnp.int32) - 1
    return ordered[jnp.maximum(place, 0)]


def _log_densities(values: Float[Array, "n"], found: Mixture) -> Float[Array, "n 2"]:
    """Log of share times density, up to a constant."""
    distance = (values[:, None] - found.means[None]) ** 2 / found.variances[None]
    return jnp.log(found.shares)[None] - 0.5 * (distance + jnp.log(found.variances)[None])
