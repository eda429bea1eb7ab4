"""A robust training rule as a value: the pure functions that one trainer runs, and the records they exchange."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from ddjax.training.losses import cross_entropy
from ddjax.types import Params, PRNGKey

# Axes: p networks trained side by side, v views of the same images, b rows of a batch, n rows of the training set.
Tables = Any  # what a rule remembers from step to step, such as an array with a row per training image
Extra = Any  # parameters trained beside the network


class Given(NamedTuple):
    """What a rule knows of the training set before the first step."""

    labels: Int[Array, "n"]  # as given
    num_classes: int
    width: int  # of the features


class Seen(NamedTuple):
    """A batch. `present` is 0 for rows that only fill up the last batch of an epoch."""

    images: Float[Array, "v b h w c"]
    targets: Float[Array, "b k"]  # one-hot of `labels` until `prepare` mixes them
    labels: Int[Array, "b"]
    rows: Int[Array, "b"]
    present: Float[Array, "b"]
    weights: Float[Array, "b"]  # ones until `prepare` changes them
    epoch: Int[Array, ""]


class Out(NamedTuple):
    """What the networks say about a batch."""

    logits: Float[Array, "p v b k"]
    features: Any  # [p v b d] where the rule asks for them, else None


class Loss(NamedTuple):
    """Each network minimises sum(weights each) / sum(weights) over the rows present; `extra` is added to their sum."""

    each: Float[Array, "p b"]
    weights: Float[Array, "p b"]
    extra: Float[Array, ""]
    tables: Tables


class Stats(NamedTuple):
    """All training images in test mode, not augmented; `views` are augmented by the recipe."""

    logits: Float[Array, "p n k"]
    features: Any  # [p n d] where the rule asks for them, else None
    views: Any  # [v p n k] where the rule asks for glances, else None
    labels: Int[Array, "n"]  # as given


class Findings(NamedTuple):
    """What a trained rule says about the given labels."""

    suspicion: Float[Array, "n"]  # large where the label is doubted; only its order has a meaning
    flagged: Bool[Array, "n"]
    relabel: Float[Array, "n k"]  # rows sum to one
    weight: Float[Array, "n"]


def nothing(*unused: Any) -> dict[str, Array]:
    """The tables, or extra parameters, of a rule that has none."""
    return {}


def predictions(tables: Tables, stats: Stats) -> Findings:
    """Findings of a rule without a memory: the loss of the given label, and where the network disagrees with it."""
    return from_probabilities(jnp.mean(jax.nn.softmax(stats.logits), axis=0), stats)


def from_probabilities(relabel: Float[Array, "n k"], stats: Stats) -> Findings:
    """The mean loss over networks as suspicion; a label is flagged where `relabel` prefers another."""
    flagged = jnp.argmax(relabel, axis=1) != stats.labels
    return Findings(mean_loss(stats), flagged, relabel, 1.0 - flagged)


def mean_loss(stats: Stats) -> Float[Array, "n"]:
    """Cross-entropy of the given labels, averaged over networks."""
    one_hot = jax.nn.one_hot(stats.labels, stats.logits.shape[-1])
    return jnp.mean(jax.vmap(lambda logits: cross_entropy(logits, one_hot))(stats.logits), axis=0)


class Rule(NamedTuple):
    """How a network is trained on labels that may be wrong. Nothing here ever receives a clean label.

    The functions hold hyperparameters only; arrays reach them through tables, which `start` makes of the rule's data.
    Factories of rules are cached, so that the same settings are the same value and compile once.
    """

    loss: Callable[[Out, Seen, Tables, Extra], Loss]
    start: Callable[[PRNGKey, Given, Any], Tables] = nothing
    extra: Callable[[PRNGKey, Given], Extra] = nothing
    extra_optimiser: optax.GradientTransformation = optax.identity()  # up to its rate
    extra_rate: float | None = None  # None: the network's own
    prepare: Callable[[PRNGKey, Seen, Tables], Seen] | None = None
    fresh: Callable[[Params], Params] | None = None  # what becomes of a network's initial parameters
    thin: Callable[[PRNGKey, Params, Tables, Int[Array, ""]], Params] | None = None  # of each network, in training
    epoch_end: Callable[[Stats, Tables, Int[Array, ""]], Tables] | None = None
    due: Callable[[Int[Array, ""]], Bool[Array, ""]] | None = None  # the epochs that `epoch_end` follows; None: all
    # (out before the network's step, out after it, another batch, extra) -> what `extra` minimises through that step
    meta: Callable[[Out, Out, Seen, Extra], Float[Array, ""]] | None = None
    export: Callable[[Tables, Stats], Findings] = predictions
    nets: int = 1
    views: int = 1
    strong: str | None = None  # the augmentation of the last view; None: the recipe's, as for the others
    glances: int = 0  # augmented views of the whole set that `epoch_end` looks at
    features: bool = False
    frozen: bool = False  # running statistics of batch norm stay as they are


def simple(each: Callable[[Float[Array, "b k"], Float[Array, "b k"]], Float[Array, "b"]]) -> Rule:
    """The rule of a loss of (logits, targets) per image: one network, one view, no memory."""
    return Rule(loss=lambda out, seen, tables, extra: mean(each(out.logits[0, 0], seen.targets), seen, tables))


def mean(each: Float[Array, "b"], seen: Seen, tables: Tables, extra: Any = 0.0) -> Loss:
    """The loss of a single network by the weights of the batch."""
    return Loss(each[None], seen.weights[None], jnp.asarray(extra, each.dtype), tables)


def write(table: Array, seen: Seen, values: Array) -> Array:
    """The table with the rows of the batch replaced; those that only fill it up are left alone."""
    rows = jnp.where(seen.present > 0, seen.rows, len(table))
    return table.at[rows].set(values, mode="drop")
