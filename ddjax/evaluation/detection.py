"""Measures of label-error detection, from suspicions and clean labels."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ddjax.evaluation.measures import auc

NAN = float("nan")
BINS = 10  # of a reliability curve


def detection(
    suspicion: Float[np.ndarray, "n"],
    flagged: Bool[np.ndarray, "n"],
    corrected: Int[np.ndarray, "n"],
    given: Int[np.ndarray, "n"],
    clean: Int[np.ndarray, "n"],
) -> dict[str, float]:
    """Measures of label-error detection. A positive is a wrong given label.

    Args:
      suspicion: a score for each label; larger is more suspicious.
      flagged: whether each label is flagged.
      corrected: the labels after correction.
      given: the given labels.
      clean: the clean labels.

    Returns:
      noise_rate: share of wrong labels, which is the chance level of auprc. flagged: share of flagged labels.
      precision, recall, f1: of the flags. false_flags: share of right labels that are flagged. auroc, auprc: of the
      suspicion. at_rate: precision among the most suspicious labels, as many as are wrong. missed_at_rate: share of the
      wrong labels that is not among these. corrected_acc: accuracy of the corrected labels. gain: its difference from
      the accuracy of the given labels. fixed: share of wrong labels that the correction makes right. harmed: share of
      right labels that it makes wrong. Undefined measures are NaN.
    """
    wrong = given != clean
    right, rate = ~wrong, float(wrong.mean())
    hits = int((flagged & wrong).sum())
    precision = hits / int(flagged.sum()) if flagged.any() else NAN
    recall = hits / int(wrong.sum()) if wrong.any() else NAN
    f1 = 2 * hits / (int(flagged.sum()) + int(wrong.sum())) if wrong.any() else NAN
    both = bool(wrong.any() and right.any())
    fine = corrected == clean
    count = int(wrong.sum())
    at_rate = float(wrong[np.argsort(-suspicion, kind="stable")[:count]].mean()) if count else NAN
    return {
        "noise_rate": rate,
        "flagged": float(flagged.mean()),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "false_flags": float(flagged[right].mean()) if right.any() else NAN,
        "auroc": auc(suspicion[wrong], suspicion[right]) if both else NAN,
        "auprc": average_precision(suspicion, wrong) if both else NAN,
        "at_rate": at_rate,
        "missed_at_rate": 1 - at_rate,
        "corrected_acc": float(fine.mean()),
        "gain": float(fine.mean()) - (1 - rate),
        "fixed": float(fine[wrong].mean()) if wrong.any() else NAN,
        "harmed": float(1 - fine[right].mean()) if right.any() else NAN,
    }


def average_precision(suspicion: Float[np.ndarray, "n"], wrong: Bool[np.ndarray, "n"]) -> float:
    """Average precision: the sum over distinct thresholds of precision times the increase of recall."""
    from scipy.stats import rankdata  # takes a second to load

    # number of labels that are at least as suspicious
    above = rankdata(-suspicion.astype(np.float64), method="max").astype(int)
    hits = np.bincount(above, weights=wrong, minlength=len(wrong) + 1)
    precision = np.cumsum(hits) / np.maximum(np.arange(len(hits)), 1)
    return float((hits * precision).sum() / wrong.sum())


class Reliability(NamedTuple):
    """Predicted and true shares of wrong labels, a row per bin that holds labels."""

    promised: Float[np.ndarray, "b"]  # mean probability that the given label is wrong
    true: Float[np.ndarray, "b"]  # share of the labels that are wrong
    count: Int[np.ndarray, "b"]

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance between both, weighted by the counts."""
        return float((self.count * np.abs(self.promised - self.true)).sum() / self.count.sum())


def reliability(probability: Float[np.ndarray, "n"], wrong: Bool[np.ndarray, "n"]) -> Reliability:
    """The reliability curve of the probability that a label is wrong, in bins of equal width."""
    place = np.minimum((np.asarray(probability, float) * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    filled = np.flatnonzero(count)
    promised = np.bincount(place, weights=probability, minlength=BINS)[filled] / count[filled]
    true = np.bincount(place, weights=wrong, minlength=BINS)[filled] / count[filled]
    return Reliability(promised, true, count[filled])
