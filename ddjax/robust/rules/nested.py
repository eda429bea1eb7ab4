"""Nested dropout: features ordered by importance; the first resist wrong labels (Chen et al., arXiv:2206.13140).

A mask on the features equals a mask on the rows of the last layer, which is called head in every network. The rules
therefore mask parameters, which works for any network.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.models.convolution.conv import product
from ddjax.ranges import PartialShare, Positive, checked
from ddjax.robust.rule import predictions
from ddjax.robust.rules.losses import plain
from ddjax.robust.rules.small_loss import exchanged
from ddjax.training.rule import Batch, Extra, Given, Loss, Outputs, Rule, Tables
from ddjax.types import Model, Params, PRNGKey

_PER_FEATURE = 1e-5  # of accuracy, that one more feature must gain


def log_shares(spread: float, channels: int) -> Float[Array, "channels"]:
    """log P(keep the first i features) for i = 1 .. channels, proportional to exp(-(i / spread)^2)."""
    return jax.nn.log_softmax(-((jnp.arange(1, channels + 1) / spread) ** 2))


def keep_first(params: Params, count: Int[Array, ""] | int) -> Params:
    """The network without all but its first `count` features (which may be traced) and the bias of its last layer.

    Raises:
      ValueError: the network has no layer called head.
    """
    head = _head(params)
    kept = jnp.arange(len(head["kernel"])) < count
    masked = {"kernel": head["kernel"] * kept[:, None]} | {n: x * 0 for n, x in head.items() if n != "kernel"}
    return {**params, "head": masked}


def without_bias(params: Params) -> Params:
    """The network with zero bias in the last layer, where it stays: masked training passes no gradient to it."""
    return {**params, "head": {n: x if n == "kernel" else x * 0 for n, x in _head(params).items()}}


def choose_width(
    model: Model, params: Params, images: Float[Array, "n h w c"], labels: Int[Array, "n"]
) -> Int[Array, ""]:
    """The number of features with the best held-out accuracy, minus 1e-5 per feature; at least 1.

    Args:
      model: the architecture.
      params: of one network.
      images: held-out images.
      labels: their given labels. The paper uses clean ones, which are not available in a fair comparison.
    """
    features = model.features(params, images)
    kernel = _head(params)["kernel"]

    def score(count: Array) -> Array:
        masked = keep_first({"head": {"kernel": kernel}}, count)["head"]["kernel"]
        right = jnp.argmax(product(features, masked), axis=1) == labels
        return jnp.mean(right.astype(jnp.float32)) - _PER_FEATURE * count

    return 1 + jnp.argmax(jax.lax.map(score, jnp.arange(1, len(kernel) + 1))).astype(jnp.int32)


@checked
@functools.cache
def nested_dropout(spread: Positive = 10.0) -> Rule:
    """Cross-entropy with a random number of leading features in each step.

    Read the trained network through `keep_first` with the width of `choose_width`.

    Args:
      spread: of the number of features; published as 10, and as 100 for 100 classes.
    """

    def mask(key: PRNGKey, params: Params, tables: Tables, net: Array) -> Params:
        count = 1 + jax.random.categorical(key, log_shares(spread, len(_head(params)["kernel"])))
        return keep_first(params, count)

    return plain()._replace(mask=mask, adjust_init=without_bias)


@checked
@functools.cache
def coteaching_of_masked(forget: PartialShare = 0.2) -> Rule:
    """The second stage: co-teaching of two masked networks from `nested_dropout`, from the first step on.

    The rule's data is the width [2] of each network, and the initial `params` are those of `masked_pair`. Running
    statistics are fixed. Both networks see full batches; in the paper each sees a half.

    Args:
      forget: the (estimated) share of wrong labels.
    """

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        if data is None or jnp.shape(data) != (2,):
            raise ValueError(f"data must be the widths [2] of the two networks, from choose_width; got {data}")
        return {"widths": data}

    def loss(outputs: Outputs, batch: Batch, tables: Tables, extra: Extra) -> Loss:
        return exchanged(outputs, batch, tables, 1 - forget)

    def mask(key: PRNGKey, params: Params, tables: Tables, net: Array) -> Params:
        return keep_first(params, tables["widths"][net])

    return Rule(loss=loss, start=start, mask=mask, export=predictions, nets=2, frozen=True)


def masked_pair(first: Params, second: Params, widths: Any) -> Params:
    """Two masked networks, stacked, to start the second stage. Rows past a width stay zero there."""
    pair = [keep_first(params, width) for params, width in zip((first, second), widths, strict=True)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *pair)


def _head(params: Params) -> Params:
    if "head" not in params or "kernel" not in params["head"]:
        raise ValueError(f"nested dropout masks the layer named head; this network has {sorted(params)}")
    return params["head"]
