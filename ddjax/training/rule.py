"""A training rule as a value: the pure functions that the trainer calls, and the records they exchange.

Plain training is the rule `PLAIN`, in which every field has its default. `ddjax.robust` holds rules for wrong labels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from ddjax.types import Params, PRNGKey

# Axes: p networks trained side by side, v views of the same images, b rows of a batch, n rows of the training set.
Tables = Any  # the memory of a rule between steps, for example an array with a row for each training image
Extra = Any  # parameters that are trained beside the network


class Given(NamedTuple):
    """The training set as a rule sees it before the first step."""

    labels: Int[Array, "n"]  # as given
    num_classes: int
    width: int  # of the features


class Batch(NamedTuple):
    """A batch. `present` is 0 for rows that only pad the last batch of an epoch."""

    images: Float[Array, "v b h w c"]
    targets: Float[Array, "... b k"]  # one-hot of `labels` until `prepare` mixes them; [p v b k] after `guess`
    labels: Int[Array, "b"]
    rows: Int[Array, "b"]
    present: Float[Array, "b"]
    weights: Float[Array, "... b"]  # ones until `prepare` changes them; [p b] after `guess`
    epoch: Int[Array, ""]


class Outputs(NamedTuple):
    """Outputs of the networks for a batch."""

    logits: Float[Array, "p v b k"]
    features: Any  # [p v b d] if the rule asks for them, else None


class Loss(NamedTuple):
    """Each network minimises sum(weights values) / sum(weights) over the rows present; `extra` is added once."""

    values: Float[Array, "p b"]
    weights: Float[Array, "p b"]
    extra: Float[Array, ""]
    tables: Tables


class Stats(NamedTuple):
    """Outputs for all training images in test mode, without augmentation; `views` are augmented by the recipe."""

    logits: Float[Array, "p n k"]
    features: Any  # [p n d] if the rule asks for them, else None
    views: Any  # [v p n k] if the rule asks for them, else None
    labels: Int[Array, "n"]  # as given


class Findings(NamedTuple):
    """The judgement of a trained rule about the given labels."""

    suspicion: Float[Array, "n"]  # larger for more doubtful labels; only the order has a meaning
    flagged: Bool[Array, "n"]
    relabel: Float[Array, "n k"]  # rows sum to one
    weight: Float[Array, "n"]


class Rule(NamedTuple):
    """How networks are trained beyond a recipe. No function of a rule ever receives a clean label.

    The functions hold hyperparameters only. Arrays reach them through tables, which `start` makes of the rule's data.
    Factories of rules are cached, so that equal settings give the same rule and its programs compile once.

    Attributes:
      loss: the loss of a batch; None takes the recipe's.
      start: tables at the start, from the rule's data; None for a rule without memory.
      extra: initial parameters that are trained beside the network; None for none.
      extra_optimiser: optimiser of these, without its learning rate.
      extra_rate: its learning rate; None takes the network's.
      prepare: changes a batch before the networks see it, for example by mixing rows.
      guess: changes a batch once more, from the outputs of the networks for it, through which no gradient passes; for
        example to replace labels by predictions before images are mixed.
      adjust_init: changes the initial parameters of a network.
      mask: changes the parameters of a network in each training step; arguments are (key, params, tables, network).
      epoch_end: new tables after an epoch, from the statistics of all training images.
      due: the epochs that `epoch_end` follows; None for all.
      meta: the loss that `extra` minimises through the network's step; arguments are (outputs before the step, outputs
        after it, another batch, extra).
      export: the findings after training; None for a rule that has none.
      nets: number of networks trained side by side.
      views: number of augmented views of each image.
      strong: augmentation of the last view; None takes the recipe's.
      stats_views: number of augmented views of all training images in the statistics for `epoch_end`.
      features: whether the networks' features are computed.
      frozen: whether the running statistics of batch norm stay fixed.
    """

    loss: Callable[[Outputs, Batch, Tables, Extra], Loss] | None = None
    start: Callable[[PRNGKey, Given, Any], Tables] | None = None
    extra: Callable[[PRNGKey, Given], Extra] | None = None
    extra_optimiser: optax.GradientTransformation = optax.identity()
    extra_rate: float | None = None
    prepare: Callable[[PRNGKey, Batch, Tables], Batch] | None = None
    guess: Callable[[PRNGKey, Batch, Tables, Outputs], Batch] | None = None
    adjust_init: Callable[[Params], Params] | None = None
    mask: Callable[[PRNGKey, Params, Tables, Int[Array, ""]], Params] | None = None
    epoch_end: Callable[[Stats, Tables, Int[Array, ""]], Tables] | None = None
    due: Callable[[Int[Array, ""]], Bool[Array, ""]] | None = None
    meta: Callable[[Outputs, Outputs, Batch, Extra], Float[Array, ""]] | None = None
    export: Callable[[Tables, Stats], Findings] | None = None
    nets: int = 1
    views: int = 1
    strong: str | None = None
    stats_views: int = 0
    features: bool = False
    frozen: bool = False


PLAIN = Rule()


def weighted_mean(values: Float[Array, "b"], batch: Batch, tables: Tables, extra: Any = 0.0) -> Loss:
    """The loss of a single network, with the weights of the batch."""
    return Loss(values[None], batch.weights[None], jnp.asarray(extra, values.dtype), tables)
