"""Wrappers of a distiller against wrong labels: each replaces the training set before the distiller sees it.

A wrapper trains networks briefly on the given labels, and decides which rows are kept with which labels. If it trusts
every label, the training set is unchanged, and so is the distilled set.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from ddjax.denoising.diversion import diverted
from ddjax.denoising.judging import Judgement, judge
from ddjax.denoising.networks import Networks, predict_early_stopped, predict_plain
from ddjax.robust.mixture import clean_probability
from ddjax.rows import part_of
from ddjax.training.losses import cross_entropy
from ddjax.types import TrainSet

Logits = Float[np.ndarray, "s n k"]  # of s networks
LIKELY = 0.5  # a label is trusted if it is more likely right than wrong


class Cleaned(NamedTuple):
    """The rows of a training set that a distiller sees, and their labels."""

    rows: Int[np.ndarray, "m"]  # ascending
    labels: Int[np.ndarray, "m"]


def apply(train: TrainSet, cleaned: Cleaned) -> TrainSet:
    """The training set with these rows and labels; the same object if nothing changes.

    Args:
      train: the training set.
      cleaned: what is kept of it.

    Returns:
      The set that a distiller sees.

    Raises:
      ValueError: a class has lost all its images.

    Example:
      >>> from ddjax.testing import toy_train
      >>> train = toy_train(num_classes=2, per_class=2)
      >>> apply(train, Cleaned(np.array([0, 1, 3]), np.array([0, 1, 1]))).labels.tolist()
      [0, 1, 1]
    """
    rows, labels = cleaned
    if empty := np.flatnonzero(np.bincount(labels, minlength=train.num_classes) == 0).tolist():
        raise ValueError(
            f"no label of the classes {empty} is trusted, so they cannot be distilled: use another wrapper, or none"
        )
    if len(rows) == len(train.labels) and np.array_equal(labels, train.labels):
        return train
    return TrainSet(
        images=part_of(train.images, rows),
        labels=jnp.asarray(labels, jnp.int32),
        ids=jnp.asarray(train.ids)[rows],
        num_classes=train.num_classes,
        space=train.space,
    )


def kept(train: TrainSet, keep: Bool[np.ndarray, "n"]) -> Cleaned:
    """The rows of a mask, with their given labels."""
    rows = np.flatnonzero(keep)
    return Cleaned(rows, np.asarray(train.labels)[rows])


def small_losses(logits: Logits, labels: Int[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """Labels whose mean loss belongs to the low component of a two-component mixture."""
    one_hot = jnp.eye(logits.shape[2])[jnp.asarray(labels)]
    losses = jnp.mean(jnp.stack([cross_entropy(jnp.asarray(one), one_hot) for one in logits]), axis=0)
    return np.asarray(clean_probability(losses) > LIKELY)


def corrected(found: Judgement, labels: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """The given labels, with the flagged ones replaced by the most probable class."""
    return np.where(found.flagged, found.truth.argmax(axis=1), labels).astype(np.int32)


def drawn(truth: Float[np.ndarray, "n k"], seed: int) -> Int[np.ndarray, "n"]:
    """A label for each row, drawn from its probabilities.

    The expectation over draws is training on soft labels, which distillers do not take.
    """
    cumulated = np.cumsum(truth, axis=1)
    points = np.random.default_rng(seed).random(len(truth)) * cumulated[:, -1]
    return (points[:, None] >= cumulated).sum(axis=1).clip(max=truth.shape[1] - 1).astype(np.int32)


class Wrapper(NamedTuple):
    """A wrapper of a distiller, called with the preprocessed training set and the networks to train.

    Attributes:
      look: trains networks and returns what they say; wrappers with the same function may share it.
      decide: returns what is kept, from what the networks say, the training set and the seed.
    """

    look: Callable[[TrainSet, Networks], Any]
    decide: Callable[[Any, TrainSet, int], Cleaned]

    def __call__(self, train: TrainSet, networks: Networks) -> Cleaned:
        """The rows and labels that a distiller sees."""
        return self.decide(self.look(train, networks), train, networks.seed)


def _small_loss_prune(logits: Logits, train: TrainSet, seed: int) -> Cleaned:
    return kept(train, small_losses(logits, np.asarray(train.labels)))


def _relabel(logits: Logits, train: TrainSet, seed: int) -> Cleaned:
    labels = np.asarray(train.labels)
    return Cleaned(np.arange(len(labels)), corrected(judge(logits, labels), labels))


def _soft_label(logits: Logits, train: TrainSet, seed: int) -> Cleaned:
    truth = judge(logits, np.asarray(train.labels)).truth
    return Cleaned(np.arange(len(truth)), drawn(truth, seed))


WRAPPERS: Mapping[str, Wrapper] = {
    "small_loss_prune": Wrapper(predict_early_stopped, _small_loss_prune),
    "relabel": Wrapper(predict_plain, _relabel),
    "soft_label": Wrapper(predict_plain, _soft_label),
    "tad_reconstructed": Wrapper(diverted, lambda found, train, seed: Cleaned(*found)),
}
