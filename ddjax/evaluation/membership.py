"""Membership inference by a likelihood-ratio attack with shadow models (Carlini et al., 2022, arXiv:2112.03570).

Many models are trained on random halves of a pool of examples. For each example, the confidences of models that were
trained on it and of the others are modelled by two normal distributions, and the attack compares their likelihoods.
"""

from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import logsumexp

from ddjax.evaluation.measures import auc
from ddjax.ranges import Count, Range, check

FEWEST = 8  # shadow models; with fewer, the two distributions cannot be estimated
OWN_VARIANCE = 64  # number of shadow models from which each example has its own variances, as published
FALSE_ALARMS = 0.01


class Attack(NamedTuple):
    """Success of the attack, as means over the attacked models.

    Attributes:
      auc: probability that the score of a member exceeds that of a non-member; 0.5 is chance.
      tpr: true-positive rate at a false-positive rate of 1 %; 0.01 is chance.
      shadows: number of models; each is attacked with the others as shadow models.
    """

    auc: float
    tpr: float
    shadows: int


def halves(n: int, shadows: int, seed: int) -> Bool[np.ndarray, "s n"]:
    """The examples that each shadow model is trained on: a random split into two halves for each pair of models.

    Raises:
      ValueError: the number of shadows is odd or below eight.
    """
    check(n, Count, "n")
    check(shadows, Annotated[int, Range(FEWEST)], "shadows")
    if shadows % 2:
        raise ValueError(f"shadows must be even, so that each example is in half of them; got {shadows}")
    first = np.random.default_rng(seed).random((shadows // 2, n)).argsort(axis=1).argsort(axis=1) < n // 2
    return np.stack([first, ~first], axis=1).reshape(shadows, n)


def log_odds(logits: Float[np.ndarray, "*s n k"], labels: Int[np.ndarray, "n"]) -> Float[np.ndarray, "*s n"]:
    """log p / (1 - p) of the predicted probability p of the label, which is roughly normal over networks."""
    logits = np.asarray(logits, float)
    own = np.arange(logits.shape[-1]) == np.asarray(labels)[:, None]
    return np.sum(logits * own, axis=-1) - logsumexp(np.where(own, -np.inf, logits), axis=-1)


def likelihood_ratios(scores: Float[np.ndarray, "s n"], inside: Bool[np.ndarray, "s n"]) -> Float[np.ndarray, "s n"]:
    """Log likelihood ratio of membership for each model and example, from the scores of all other models.

    `scores` are `log_odds`, and `inside` says which examples each model was trained on. Below 64 models the variances
    are pooled over examples, as published.

    Raises:
      ValueError: shapes differ, a score is not finite, or fewer than three models were (not) trained on an example.
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


def found_at(members: Float[np.ndarray, "n"], others: Float[np.ndarray, "m"]) -> float:
    """The true-positive rate at a false-positive rate of at most `FALSE_ALARMS`."""
    threshold = np.sort(others)[::-1][int(FALSE_ALARMS * len(others))]
    return float(np.mean(members > threshold))


def _normal(
    scores: Float[np.ndarray, "s n"], mask: Bool[np.ndarray, "s n"]
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Mean and variance of each example over the masked models."""
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
