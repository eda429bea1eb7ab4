"""EchoSelect without an image generator (after arXiv:2405.12969): it selects the images to keep in each class."""

import functools
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ddjax.ranges import Positive, Range, checked
from ddjax.robust.rule import mean_loss
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Extra, Findings, Given, Loss, Outputs, Rule, Stats, Tables, weighted_mean
from ddjax.types import PRNGKey

NoiseShare = Annotated[float, Range(0, 1 / 1.2, below=True)]  # from 1 / 1.2 on, no image would be kept
_ROUNDING = 1e-4


@checked
def kept_share(noise: NoiseShare) -> float:
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


@checked
@functools.cache
def echo_select(noise: NoiseShare = 0.4, until: Positive = 70.0) -> Rule:
    """Cross-entropy on all images until epoch `until`, then on the selected ones.

    Selected are the images whose loss, averaged over the first epochs, is among the lowest `kept_share` of their given
    class. Under asymmetric noise the share of wrong labels differs between classes, which this rule ignores.

    Args:
      noise: the (known) share of wrong labels.
      until: the number of epochs before the selection.
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
