"""EchoSelect without an image generator (after arXiv:2405.12969): it selects the images to keep in each class."""

import functools
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ddjax.models.convolution.conv import product
from ddjax.ranges import NonNegative, Range, checked
from ddjax.robust.rule import mean_loss
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Extra, Findings, Given, Loss, Outputs, Rule, Stats, Tables, weighted_mean
from ddjax.types import PRNGKey

Bearable = Annotated[float, Range(0, 1 / 1.2, below=True)]  # a share of wrong labels at which images are left to keep
_NEAREST = 0.5
_ROUNDS = 3
_ROUNDING = 1e-4


@checked
def kept_share(noise: Bearable) -> float:
    """min(1 - 1.2 noise, 0.9 (1 - noise)): the share of each class to keep, given the share of wrong labels."""
    return min(1 - 1.2 * noise, 0.9 * (1 - noise))


def lowest_of_class(
    values: Float[Array, "n"], labels: Int[Array, "n"], num_classes: int, share: float
) -> Bool[Array, "n"]:
    """The floor(share * size) lowest values of each given class."""
    order = jnp.lexsort((values, labels))
    sizes = jnp.zeros(num_classes, jnp.int32).at[labels].add(1)
    place = jnp.zeros(len(labels), jnp.int32).at[order].set(jnp.arange(len(labels), dtype=jnp.int32))
    rank = place - (jnp.cumsum(sizes) - sizes)[labels]
    return rank < jnp.floor(share * sizes[labels] + _ROUNDING)


def prototypes(features: Float[Array, "n d"], labels: Int[Array, "n"], num_classes: int) -> Float[Array, "k d"]:
    """Directions of the classes: trimmed means of unit features. Three times, the mean of the closest half is taken."""
    unit = _unit(features)
    member = jax.nn.one_hot(labels, num_classes)
    means = _unit(product(member.T, unit))
    for _ in range(_ROUNDS):
        near = lowest_of_class(-jnp.sum(unit * means[labels], axis=1), labels, num_classes, _NEAREST)
        means = _unit(product((member * near[:, None]).T, unit))
    return means


def similarity(features: Float[Array, "n d"], labels: Int[Array, "n"], means: Float[Array, "k d"]) -> Float[Array, "n"]:
    """Cosine to the given class's direction minus the largest cosine to another's.

    A prototype replaces the image that a generator would make of the given label. Features of distilled images serve
    too.
    """
    cosines = product(_unit(features), _unit(means).T)
    own = jax.nn.one_hot(labels, len(means), dtype=bool)
    return jnp.sum(jnp.where(own, cosines, 0), axis=1) - jnp.max(jnp.where(own, -jnp.inf, cosines), axis=1)


def neighbour_agreement(features: Float[Array, "n d"], labels: Int[Array, "n"], count: int = 50) -> Float[Array, "n"]:
    """Share of the `count` nearest other images, by cosine, with the same given label. Memory is O(n^2)."""
    if not 0 < count < len(labels):
        raise ValueError(f"count of neighbours is at least 1 and below the number of images {len(labels)}; got {count}")
    unit = _unit(features)
    cosines = product(unit, unit.T) - 4 * jnp.eye(len(unit), dtype=unit.dtype)
    nearest = jax.lax.top_k(cosines, count)[1]
    return jnp.mean((labels[nearest] == labels[:, None]).astype(jnp.float32), axis=1)


@checked
@functools.cache
def echo_select(noise: Bearable = 0.4, until: NonNegative = 70.0) -> Rule:
    """Cross-entropy on all images until epoch `until`, then on the selected ones.

    Selected are the images whose loss, averaged over the first epochs, is among the lowest `kept_share` of their given
    class. Under asymmetric noise the share of wrong labels differs between classes, which this rule ignores.

    Args:
      noise: the (known) share of wrong labels.
      until: the number of epochs before the selection.

    Returns:
      The rule.

    Raises:
      ValueError: a setting is out of range.
    """
    share = kept_share(noise)

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        n = len(given.labels)
        return {"total": jnp.zeros(n), "kept": jnp.ones(n)}

    def loss(outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        values = cross_entropy(outputs.logits[0, 0], batch.targets)
        return weighted_mean(values, batch._replace(weights=tables["kept"][batch.rows]), tables)

    def end(stats: Stats, tables: Tables, epoch: Int[Array, ""]) -> Tables:
        total = tables["total"] + mean_loss(stats)
        chosen = lowest_of_class(total, stats.labels, stats.logits.shape[-1], share)
        return {"total": total, "kept": jnp.where(epoch + 1 >= until, chosen.astype(total.dtype), tables["kept"])}

    return Rule(loss=loss, start=start, epoch_end=end, due=lambda epoch: epoch < until, export=_findings)


def _findings(tables: Tables, stats: Stats) -> Findings:
    relabel = jax.nn.softmax(stats.logits[0])
    return Findings(tables["total"], tables["kept"] == 0, relabel, tables["kept"])


def _unit(x: Array) -> Array:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
