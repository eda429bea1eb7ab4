"""What a few stochastic passes over a batch say about each label: the 19 numbers that STORM's rescaler reads."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Int

from ddjax.training.losses import cross_entropy

COUNT = 19
_ALONE = 1e-8  # the deviation in a group of one
_FAR = 1e9  # the largest divergence: where passes differ by roundings alone it may be 1e20, whose square overflows


def features(
    logits: Float[Array, "v b k"], labels: Int[Array, "b"], present: Float[Array, "b"]
) -> Float[Array, "b 19"]:
    """Four scalars of each label over the passes, its group's mean and deviation of each, and how far it stands out.

    The scalars are mean and deviation of the loss and of the largest probability. A group is the rows of one given
    class on which most passes agree with the label, or those on which they do not. How far: KL divergence and overlap
    of the label's own normal distribution of losses and its group's, each with the group's mean and deviation. Last,
    the agreement. No gradient passes.
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
    """Mean and (unbiased) deviation over each row's group, of the rows present."""

    def total(x: Array) -> Array:
        return jax.ops.segment_sum(x * present, groups, count)[groups]

    size = jnp.maximum(total(jnp.ones_like(values)), 1)
    mean = total(values) / size
    variance = total((values - mean) ** 2) / jnp.maximum(size - 1, 1)
    return mean, jnp.maximum(jnp.sqrt(variance), _ALONE)


def divergence(mean: Array, deviation: Array, other_mean: Array, other_deviation: Array) -> Array:
    """KL(N(mean, deviation) || N(other)), at most 1e9; 0 where a deviation is 0."""
    some = (deviation > 0) & (other_deviation > 0)
    a, b = jnp.where(some, deviation, 1.0), jnp.where(some, other_deviation, 1.0)
    found = jnp.log(b / a) + (a**2 + (mean - other_mean) ** 2) / (2 * b**2) - 0.5
    return jnp.where(some, jnp.minimum(found, _FAR), 0.0)


def overlap(mean: Array, deviation: Array, other_mean: Array, other_deviation: Array) -> Array:
    """The area under both normal densities, from where they cross; 0 where a deviation is 0."""
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
