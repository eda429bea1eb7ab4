"""DivideMix: two networks that divide the labels for each other (Li et al., 2020, arXiv:2002.07394).

After a warm-up a mixture on each network's losses gives the probability that a label is right. The peer trains on the
division: likely labels are refined by its own predictions, the others are replaced by a guess of both networks, and
images and labels of both kinds are mixed (MixMatch). The published code trains the networks one after the other and
draws as many images without a label as with one; here both networks take each step on one batch, which holds both kinds
in the proportion of the training set.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ddjax.augment.cutmix import partners
from ddjax.ranges import NonNegative, Positive, Share, checked
from ddjax.robust.mixture import clean_probability
from ddjax.robust.rule import from_uniform, mean_loss, sharpened
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Extra, Findings, Given, Loss, Outputs, Rule, Stats, Tables
from ddjax.types import PRNGKey


def refined(
    own: Float[Array, "v b k"], given: Float[Array, "b k"], clean: Float[Array, "b"], sharpness: float
) -> Float[Array, "b k"]:
    """Co-refinement: clean * given label + (1 - clean) * the network's mean prediction over views, sharpened."""
    return sharpened(clean[:, None] * given + (1 - clean)[:, None] * jnp.mean(own, axis=0), sharpness)


def guessed(both: Float[Array, "p v b k"], sharpness: float) -> Float[Array, "b k"]:
    """Co-guessing: the mean prediction of all networks over all views, sharpened."""
    return sharpened(jnp.mean(both, axis=(0, 1)), sharpness)


def semi_supervised(
    logits: Float[Array, "v b k"],
    targets: Float[Array, "v b k"],
    labelled: Bool[Array, "b"],
    present: Float[Array, "b"],
    strength: Float[Array, ""] | float,
) -> Float[Array, "b"]:
    """Values whose mean over the rows present is the loss of MixMatch.

    This loss is the mean cross-entropy of the labelled rows + strength * the mean squared error of the others. Both are
    means over views, and the error is a mean over classes too.
    """
    cross = jnp.mean(jax.vmap(cross_entropy)(logits, targets), axis=0)
    square = jnp.mean((jax.nn.softmax(logits) - targets) ** 2, axis=(0, 2))
    with_label, without = present * labelled, present * ~labelled
    parts = [
        member * values / jnp.maximum(jnp.sum(member), 1)
        for member, values in ((with_label, cross), (without, strength * square))
    ]
    return jnp.sum(present) * sum(parts)


@checked
@functools.cache
def dividemix(
    warmup: NonNegative = 10.0,
    ramp: NonNegative = 16.0,
    strength: NonNegative = 25.0,
    threshold: Share = 0.5,
    sharpness: Positive = 2.0,
    alpha: Positive = 4.0,
    penalty: NonNegative = 0.0,
) -> Rule:
    """DivideMix, with the values published for CIFAR-10 and half of the labels wrong as defaults.

    Args:
      warmup: epochs of cross-entropy on all labels; 30 is published for a hundred classes.
      ramp: epochs after the warm-up in which `strength` grows from 0.
      strength: weight of the squared error of guessed labels; 0 is published for few or asymmetric wrong labels.
      threshold: a label counts if its probability to be right is above this; findings flag the labels below it.
      sharpness: power that sharpens refined and guessed labels (one over the temperature).
      alpha: of the Beta distribution of the mixed shares.
      penalty: weight of the negative entropy of predictions in the warm-up; 1 is published for asymmetric noise.

    Raises:
      ValueError: a setting is out of range.
    """

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        return {"clean": jnp.ones((2, len(given.labels)))}

    def guess(key: PRNGKey, batch: Batch, tables: Tables, outputs: Outputs) -> Batch:
        warm = batch.epoch < warmup
        clean = tables["clean"][:, batch.rows]
        labelled = warm | (clean > threshold)
        seen = jax.nn.softmax(outputs.logits)
        own = jax.vmap(lambda seen, clean: refined(seen, batch.targets, clean, sharpness))(seen, clean)
        targets = jnp.where(labelled[:, :, None], own, guessed(seen, sharpness)[None])
        targets = jnp.where(warm, batch.targets[None], targets)
        share_key, partner_key = jax.random.split(key)
        share = jax.random.beta(share_key, alpha, alpha)
        share = jnp.where(warm, 1.0, jnp.maximum(share, 1 - share))
        images, targets = mixed(batch.images, targets, batch.present, share, partner_key)
        return batch._replace(images=images, targets=targets, weights=labelled.astype(batch.weights.dtype))

    def loss(outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        warm = batch.epoch < warmup
        grown = strength * jnp.clip((batch.epoch - warmup) / ramp, 0, 1) if ramp else strength

        def of_network(logits: Array, targets: Array, labelled: Array) -> tuple[Array, Array]:
            plain = cross_entropy(logits[0], targets[0])
            confident = jnp.sum(jax.nn.softmax(logits[0]) * jax.nn.log_softmax(logits[0]), axis=-1)
            mixture = semi_supervised(logits, targets, labelled > 0, batch.present, grown)
            flat = logits.reshape(-1, logits.shape[-1])
            even = from_uniform(flat, jnp.tile(batch.present, len(logits)))
            return jnp.where(warm, plain + penalty * confident, mixture), jnp.where(warm, 0.0, even)

        values, even = jax.vmap(of_network)(outputs.logits, batch.targets, batch.weights)
        return Loss(values, jnp.ones_like(values), jnp.sum(even), tables)

    def end(stats: Stats, tables: Tables, epoch: Int[Array, ""]) -> Tables:
        return {"clean": divided(stats)}

    return Rule(
        loss=loss,
        start=start,
        guess=guess,
        epoch_end=end,
        due=lambda epoch: epoch + 1 >= warmup,
        export=functools.partial(_findings, threshold),
        nets=2,
        views=2,
    )


def mixed(
    images: Float[Array, "v b h w c"],
    targets: Float[Array, "p b k"],
    present: Float[Array, "b"],
    share: Float[Array, ""],
    key: PRNGKey,
) -> tuple[Float[Array, "v b h w c"], Float[Array, "p v b k"]]:
    """share * row + (1 - share) * partner, over the rows of all views; rows that only pad the batch have no partner."""
    views, b = images.shape[:2]
    partner = partners(key, jnp.tile(present, views))

    def blend(rows: Array) -> Array:  # [v b ...]
        flat = rows.reshape(views * b, *rows.shape[2:])
        return (share * flat + (1 - share) * flat[partner]).reshape(rows.shape)

    spread = jnp.broadcast_to(targets[:, None], (len(targets), views, *targets.shape[1:]))
    return blend(images), jax.vmap(blend)(spread)


def divided(stats: Stats) -> Float[Array, "p n"]:
    """For each network the probability that a label is right, by the losses of its peer (co-divide)."""
    of_each = jax.lax.map(
        lambda logits: clean_probability(mean_loss(stats._replace(logits=logits[None]))), stats.logits
    )
    return jnp.flip(of_each, axis=0)


def _findings(threshold: float, tables: Tables, stats: Stats) -> Findings:
    clean = jnp.mean(tables["clean"], axis=0)
    relabel = jnp.mean(jax.nn.softmax(stats.logits), axis=0)
    return Findings(1 - clean, clean < threshold, relabel, clean)
