"""Who was in the data: a likelihood-ratio attack by shadow models (Carlini et al., 2022, arXiv:2112.03570).

Many models are trained on random halves of a pool of examples. For each example the confidences of models that saw it
and of those that did not are two normal distributions; a model under attack is asked which of the two fits its own.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import logsumexp

from ddjax.evaluation.measures import auc
from ddjax.ranges import check_int

FEWEST = 8  # shadows: of fewer, leaving out the one under attack, too few saw an example or did not
OWN_VARIANCE = 64  # shadows from which on each example has variances of its own, as published
FALSE_ALARMS = 0.01


class Attack(NamedTuple):
    """How well members are told from others, means over the models under attack.

    Attributes:
      auc: chance that a member's score is above another's; 0.5 tells nothing.
      tpr: share of members found where one of a hundred others is taken for a member; 0.01 tells nothing.
      shadows: how many models there were, each attacked with the help of the others.
    """

    auc: float
    tpr: float
    shadows: int


def halves(n: int, shadows: int, seed: int) -> Bool[np.ndarray, "s n"]:
    """Which of `n` examples each shadow model trains on: the halves of a random split, for each pair of models.

    Every example is in exactly half of them, and all halves are of one size, up to one.

    Raises:
      ValueError: for an odd number of shadows, or fewer than eight.
    """
    check_int(n, "n")
    check_int(shadows, "shadows", FEWEST)
    if shadows % 2:
        raise ValueError(f"shadows must be even, so that each example is in half of them; got {shadows}")
    first = np.random.default_rng(seed).random((shadows // 2, n)).argsort(axis=1).argsort(axis=1) < n // 2
    return np.stack([first, ~first], axis=1).reshape(shadows, n)


def log_odds(logits: Float[np.ndarray, "*s n k"], labels: Int[np.ndarray, "n"]) -> Float[np.ndarray, "*s n"]:
    """log p / (1 - p) of the probability p that a network gives to the label: about normal over networks."""
    logits = np.asarray(logits, float)
    own = np.arange(logits.shape[-1]) == np.asarray(labels)[:, None]
    return np.sum(logits * own, axis=-1) - logsumexp(np.where(own, -np.inf, logits), axis=-1)


def likelihood_ratios(scores: Float[np.ndarray, "s n"], inside: Bool[np.ndarray, "s n"]) -> Float[np.ndarray, "s n"]:
    """Log likelihood ratio of "was a member" for each example and each model, by all the other models.

    Args:
      scores: `log_odds` of each model's label of each example.
      inside: which examples each model was trained on.

    Returns:
      Ratios of the model's score under the normal distributions of models that saw the example and that did not.
      Below 64 models their variances are pooled over examples, as published.

    Raises:
      ValueError: where shapes differ, a score is not finite, or an example was seen by too few or too many models.
    """
    scores, inside = np.asarray(scores, float), np.asarray(inside, bool)
    if scores.shape != inside.shape or scores.ndim != 2:
        raise ValueError(f"scores and inside are [shadows, examples]; got {list(scores.shape)}, {list(inside.shape)}")
    if not np.all(np.isfinite(scores)):
        raise ValueError("scores must be finite: a shadow model has diverged")
    counts = inside.sum(axis=0)
    if counts.min() < 3 or (len(inside) - counts).min() < 3:
        raise ValueError("each example must be in the data of at least three models, and outside that of three")
    ratios = np.empty_like(scores)
    for target in range(len(scores)):
        others = np.arange(len(scores)) != target
        seen, unseen = (_normal(scores[others], mask[others]) for mask in (inside, ~inside))
        ratios[target] = _log_density(scores[target], *seen) - _log_density(scores[target], *unseen)
    return ratios


def attack(scores: Float[np.ndarray, "s n"], inside: Bool[np.ndarray, "s n"]) -> Attack:
    """Attack each model by all the others: see `likelihood_ratios` for the arguments and errors."""
    ratios = likelihood_ratios(scores, inside)
    found = [(auc(r[m], r[~m]), found_at(r[m], r[~m])) for r, m in zip(ratios, np.asarray(inside, bool), strict=True)]
    area, share = np.mean(found, axis=0)
    return Attack(float(area), float(share), len(ratios))


def found_at(
    members: Float[np.ndarray, "n"], others: Float[np.ndarray, "m"], false_alarms: float = FALSE_ALARMS
) -> float:
    """The largest share of members above a threshold that at most a share `false_alarms` of the others exceeds."""
    allowed = int(false_alarms * len(others))
    threshold = np.sort(others)[::-1][allowed]
    return float(np.mean(members > threshold))


def _normal(
    scores: Float[np.ndarray, "s n"], mask: Bool[np.ndarray, "s n"]
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Mean of each example over the masked models, and its variance."""
    count = mask.sum(axis=0)
    mean = np.sum(scores * mask, axis=0) / count
    squares = np.sum((scores - mean) ** 2 * mask, axis=0)
    if len(scores) + 1 >= OWN_VARIANCE:
        variance = squares / (count - 1)
    else:
        variance = np.full_like(mean, squares.sum() / (count - 1).sum())
    return mean, np.maximum(variance, np.finfo(float).tiny)


def _log_density(
    x: Float[np.ndarray, "n"], mean: Float[np.ndarray, "n"], variance: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    return -0.5 * (np.log(variance) + (x - mean) ** 2 / variance)
