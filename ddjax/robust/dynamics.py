"""Features of the labels in a batch from several stochastic passes: the 19 inputs of STORM's rescaler."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Int

from ddjax.training.losses import cross_entropy

COUNT = 19
_ALONE = 1e-8  # the smallest deviation, also of a group of one
_FAR = 1e9  # the largest divergence; if passes differ by rounding alone it can reach 1e20, whose square overflows


def features(
    logits: Float[Array, "v b k"], labels: Int[Array, "b"], present: Float[Array, "b"]
) -> Float[Array, "b 19"]:
    """Features of each label, without gradient.

    In order, the features are:
    - four scalars over the passes: mean and deviation of the loss, and of the largest probability;
    - mean and deviation of each scalar over the label's group. A group holds the rows of one given class for which the
      majority of passes agrees with the label, or those for which it does not;
    - KL divergence and overlap between the normal distributions of the label's losses and of its group's, each
      followed by the group's mean and deviation;
    - the agreement.
    """
    logits = jax.lax.stop_gradient(logits)
    k = logits.shape[-1]
    losses = jax.vmap(lambda z: cross_entropy(z, jax.nn.one_hot(labels, k)))(logits)
    top = jnp.max(jax.nn.softmax(logits), axis=-1)
    hits = jnp.argmax(logits, axis=-1) == labels[None]
    votes = jnp.sum(hits, axis=0) * 2
    agree = jnp.where(votes == len(hits), hits[0], votes > len(hits))
    groups = labels * 2 + agree

    def of_group(values: Float[Array, "b"]) -> tuple[Array, Array]:
        return group_moments(values, groups, present, 2 * k)

    scalars = [f(x) for x in (losses, top) for f in (lambda x: jnp.mean(x, axis=0), _deviation)]
    around = [moment for values in scalars for moment in of_group(values)]
    mean, deviation, group_mean, group_deviation = scalars[0], scalars[1], around[0], around[2]
    apart = divergence(mean, deviation, group_mean, group_deviation)
    shared = overlap(mean, deviation, group_mean, group_deviation)
    columns = [*scalars, *around, apart, *of_group(apart), shared, *of_group(shared), agree.astype(losses.dtype)]
    return jnp.stack(columns, axis=1)


def group_moments(
    values: Float[Array, "b"], groups: Int[Array, "b"], present: Float[Array, "b"], count: int
) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
    """Mean and (unbiased) standard deviation over the present rows of each row's group."""

    def total(x: Array) -> Array:
        return jax.ops.segment_sum(x * present, groups, count)[groups]

    size = jnp.maximum(total(jnp.ones_like(values)), 1)
    mean = total(values) / size
    variance = total((values - mean) ** 2) / jnp.maximum(size - 1, 1)
    return mean, jnp.maximum(jnp.sqrt(variance), _ALONE)


def divergence(mean: Array, deviation: Array, other_mean: Array, other_deviation: Array) -> Array:
    """KL(N(mean, deviation) || N(other)), at most 1e9, and 0 if a deviation is 0."""
    some = (deviation > 0) & (other_deviation > 0)
    a, b = jnp.where(some, deviation, 1.0), jnp.where(some, other_deviation, 1.0)
    divergence = jnp.log(b / a) + (a**2 + (mean - other_mean) ** 2) / (2 * b**2) - 0.5
    return jnp.where(some, jnp.minimum(divergence, _FAR), 0.0)


def overlap(mean: Array, deviation: Array, other_mean: Array, other_deviation: Array) -> Array:
    """The overlap of both normal densities, by their crossings, and 0 if a deviation is 0."""
    some = (deviation > 0) & (other_deviation > 0)
    a, b = jnp.where(some, deviation, 1.0), jnp.where(some, other_deviation, 1.0)
    # in units of the first: N(0, 1) and N(shift, b / a)
    shift, wide = (other_mean - mean) / a, b / a
    gap = wide**2 - 1
    alike = jnp.abs(gap) < 1e-5
    safe = jnp.where(alike, 1.0, gap)
    root = wide * jnp.sqrt(jnp.maximum(shift**2 + gap * jnp.log(jnp.where(alike, 1.0, wide**2)), 0.0))
    crossings = [(-shift + root) / safe, (-shift - root) / safe]
    apart = [jnp.abs(norm.cdf((x - shift) / wide) - norm.cdf(x)) for x in crossings]
    same_width = 2 * norm.cdf(-jnp.abs(shift) / 2)
    return jnp.where(some, jnp.where(alike, same_width, 1 - apart[0] - apart[1]), 0.0)


def _deviation(values: Float[Array, "v b"]) -> Float[Array, "b"]:
    return jnp.std(values, axis=0, ddof=1)
