"""Nested dropout: features in order of importance, of which a few resist wrong labels (Chen et al., arXiv:2206.13140).

A mask on the features is the same as a mask on the rows of the last layer, called head in every network; so it is
put on the parameters, and any network can be thinned.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.precision import product
from ddjax.ranges import Count, PartialShare, Positive, checked
from ddjax.robust.rule import Extra, Given, Loss, Out, Rule, Seen, Tables
from ddjax.robust.rules.losses import plain
from ddjax.robust.rules.small_loss import exchanged
from ddjax.types import Model, Params, PRNGKey

_PER_CHANNEL = 1e-5  # of accuracy: what one more channel has to be worth


def log_shares(spread: float, channels: int) -> Float[Array, "channels"]:
    """log P(keep the first i) for i = 1 .. channels, in proportion to exp(-(i / spread)^2)."""
    return jax.nn.log_softmax(-((jnp.arange(1, channels + 1) / spread) ** 2))


def keep_first(params: Params, count: Int[Array, ""] | int, channels: int | None = None) -> Params:
    """The network as if only its first `count` features existed, and no bias in the last layer.

    `channels`: features are maps flattened with the channel last, of this many channels, and those are counted;
    None counts the features themselves (networks that pool to one value per channel).
    """
    head = _head(params)
    width = len(head["kernel"])
    if channels is not None and width % channels:
        raise ValueError(f"channels must divide the {width} features that the last layer reads; got {channels}")
    kept = (jnp.arange(width) % (channels or width)) < count
    thin = {"kernel": head["kernel"] * kept[:, None]} | {n: x * 0 for n, x in head.items() if n != "kernel"}
    return {**params, "head": thin}


def without_bias(params: Params) -> Params:
    """The network with a last layer without bias; no gradient reaches it from there in thinned training."""
    return {**params, "head": {n: x if n == "kernel" else x * 0 for n, x in _head(params).items()}}


def choose_width(
    model: Model, params: Params, images: Float[Array, "n h w c"], labels: Int[Array, "n"], channels: int
) -> Int[Array, ""]:
    """The number of channels with the best held-out accuracy, less 1e-5 for each; `labels` may be noisy ones.

    The paper takes clean held-out labels here, which a fair comparison does not have.
    """
    features = model.features(params, images)
    kernel = _head(params)["kernel"]

    def score(count: Array) -> Array:
        thin = keep_first({"head": {"kernel": kernel}}, count, channels)["head"]["kernel"]
        right = jnp.argmax(product(features, thin), axis=1) == labels
        return jnp.mean(right.astype(jnp.float32)) - _PER_CHANNEL * count

    return 1 + jnp.argmax(jax.lax.map(score, jnp.arange(1, channels + 1))).astype(jnp.int32)


@checked
@functools.cache
def nested_dropout(spread: Positive = 10.0, channels: Count | None = None) -> Rule:
    """Cross-entropy with a random number of leading features in each step; published spread 10, for 100 classes 100.

    Its network is to be read through `keep_first` with what `choose_width` finds.
    """

    def thin(key: PRNGKey, params: Params, tables: Tables, net: Array) -> Params:
        count = 1 + jax.random.categorical(key, log_shares(spread, channels or len(_head(params)["kernel"])))
        return keep_first(params, count, channels)

    return plain()._replace(thin=thin, fresh=without_bias)


@checked
@functools.cache
def coteaching_of_thinned(forget: PartialShare = 0.2, channels: Count | None = None) -> Rule:
    """The second stage: two networks from `nested_dropout`, thinned as chosen, teach each other from the first step.

    The rule's data is the width [2] of each network, and the `params` to start from are the two networks, stacked.
    Running statistics stay as they are. Both networks see whole batches, where the paper gives each a half.
    """

    def start(key: PRNGKey, given: Given, data: Any) -> Tables:
        if data is None or jnp.shape(data) != (2,):
            raise ValueError(f"data must be the widths [2] of the two networks, from choose_width; got {data}")
        return {"widths": data}

    def loss(out: Out, seen: Seen, tables: Tables, extra: Extra) -> Loss:
        return exchanged(out, seen, tables, 1 - forget)

    def thin(key: PRNGKey, params: Params, tables: Tables, net: Array) -> Params:
        return keep_first(params, tables["widths"][net], channels)

    return Rule(loss=loss, start=start, thin=thin, nets=2, frozen=True)


def thinned_pair(first: Params, second: Params, widths: Any, channels: int | None = None) -> Params:
    """Two thinned networks, stacked: what the second stage starts from. Rows past a width stay zero from there on."""
    pair = [keep_first(params, width, channels) for params, width in zip((first, second), widths, strict=True)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *pair)


def _head(params: Params) -> Params:
    if "head" not in params or "kernel" not in params["head"]:
        raise ValueError(f"nested dropout thins the layer named head; this network has {sorted(params)}")
    return params["head"]
