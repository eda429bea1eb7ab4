"""How well wrong labels were found: the only place where suspicion meets the truth."""

import numpy as np
from jaxtyping import Bool, Float, Int

from ddjax.evaluation.measures import auc

NAN = float("nan")


def detection(
    suspicion: Float[np.ndarray, "n"],
    flagged: Bool[np.ndarray, "n"],
    corrected: Int[np.ndarray, "n"],
    given: Int[np.ndarray, "n"],
    clean: Int[np.ndarray, "n"],
) -> dict[str, float]:
    """Measures of label-error detection; a positive is a given label that is wrong.

    Args:
      suspicion: larger where a label is doubted.
      corrected: the labels after the correction: suggestions where one is followed, given labels elsewhere.

    Returns:
      noise_rate, the share of wrong labels (the chance level of auprc); flagged, the share that is flagged; precision
      (NaN without flags), recall and f1 of the flags; false_flags, the share of right labels flagged; auroc and auprc
      of the suspicion; at_rate, the precision of as many labels as are wrong; corrected_acc and gain over the given
      labels; fixed and harmed, the shares of wrong labels made right and of right ones made wrong. Without wrong
      labels, what needs some is NaN.
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
    return {
        "noise_rate": rate,
        "flagged": float(flagged.mean()),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "false_flags": float(flagged[right].mean()) if right.any() else NAN,
        "auroc": auc(suspicion[wrong], suspicion[right]) if both else NAN,
        "auprc": average_precision(suspicion, wrong) if both else NAN,
        "at_rate": float(wrong[np.argsort(-suspicion, kind="stable")[:count]].mean()) if count else NAN,
        "corrected_acc": float(fine.mean()),
        "gain": float(fine.mean()) - (1 - rate),
        "fixed": float(fine[wrong].mean()) if wrong.any() else NAN,
        "harmed": float(1 - fine[right].mean()) if right.any() else NAN,
    }


def average_precision(suspicion: Float[np.ndarray, "n"], wrong: Bool[np.ndarray, "n"]) -> float:
    """Sum over distinct thresholds of precision times the recall gained there."""
    from scipy.stats import rankdata  # takes a second to load

    above = rankdata(-suspicion, method="max").astype(int)  # how many are at least as suspicious
    found = np.bincount(above, weights=wrong, minlength=len(wrong) + 1)
    precision = np.cumsum(found) / np.maximum(np.arange(len(found)), 1)
    return float((found * precision).sum() / wrong.sum())
