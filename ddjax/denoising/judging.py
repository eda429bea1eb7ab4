"""From predictions to how suspicious each given label is, whether it is flagged, and what it may be instead."""

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ddjax.data.validate import class_labels
from ddjax.denoising import clusters
from ddjax.denoising.doubt import HALVINGS, doubts
from ddjax.ranges import PositiveShare, checked
from ddjax.robust import channel, confident, scores

PASSES = 4 * clusters.ROUNDS + 2 * channel.ROUNDS + 3 * HALVINGS  # over all predictions, in one judgement
_CONTRADICTED = 0.2  # share of contradicted labels above which one network is said to be too little
SUM = 0.02  # how far a row of probabilities may be from 1; half precision needs some room


class Said(NamedTuple):
    """What a score reads."""

    members: Float[Array, "s n k"]  # probabilities of each network
    mean: Float[Array, "n k"]  # and of all together
    wrong: Float[Array, "n"]  # P(the given label is wrong)
    labels: Int[Array, "n"]


class Judgement(NamedTuple):
    """What predictions say about each given label.

    Attributes:
      scores: every score of `SCORES` by name; larger is more suspicious.
      wrong: the probability that the given label is wrong.
      truth: the probability of each class, given the predictions and the label.
      flagged: the labels that are taken for wrong.
      expected_precision: the share of the flagged labels that are expected to be wrong; NaN where none is flagged.
      noise_rate: the estimated share of wrong labels.
    """

    scores: dict[str, Float[np.ndarray, "n"]]
    wrong: Float[np.ndarray, "n"]
    truth: Float[np.ndarray, "n k"]
    flagged: Bool[np.ndarray, "n"]
    expected_precision: float
    noise_rate: float


def _hybrid(said: Said) -> Array:
    """Mean rank by margin, by the posterior and by the members' votes, least suspicious first, in [0, 1]."""
    votes = scores.disagreement(said.members, said.labels)
    each = [said.wrong, scores.margin(said.mean, said.labels), votes]
    return sum(1 - scores.rank(one) / max(len(said.labels) - 1, 1) for one in each) / len(each)


SCORES: Mapping[str, Callable[[Said], Array]] = {
    "posterior": lambda said: said.wrong,
    **{name: (lambda said, score=score: score(said.mean, said.labels)) for name, score in scores.SCORES.items()},
    "disagreement": lambda said: scores.disagreement(said.members, said.labels),
    "hybrid": _hybrid,
}


@checked
def judge(predictions: Any, labels: Any, *, precision: PositiveShare = 0.8) -> Judgement:
    """Find the labels that predictions contradict, and say how many labels are wrong.

    The predictions must come from networks that did not train on the labels they are asked about, such as
    cross-validated ones; a network that has memorised a wrong label does not contradict it. How sure the networks are
    of themselves is immaterial: how often they err is estimated, without any truth, from the shape of their
    predictions, and for a single weak network from how well it predicts the given labels.

    Args:
      predictions: [n k] class probabilities or logits, or [s n k] of s networks, whose mean log-probabilities are
        judged. Where they disagree, they are trusted less; networks that hardly differ count as one. Values between 0
        and 1 are probabilities, whose rows sum to 1; others are logits. Zero probabilities and logits of -inf are
        allowed.
      labels: [n] the given labels, 0 to k - 1.
      precision: the share of the flagged labels that is expected to be wrong, at least. Among the sets that keep it,
        the flags are those whose expected F1 score is largest.

    Returns:
      Scores, probabilities, flags, the expected precision of the flags and the estimated share of wrong labels.

    Raises:
      ValueError: shapes do not match, a value is NaN or +inf, rows of probabilities do not sum to 1, a label is no
        class, or `precision` is not in (0, 1].

    Example:
      >>> truth = np.arange(100) % 2
      >>> predictions = np.where(np.eye(2)[truth] > 0, 0.95, 0.05)
      >>> labels = np.where(np.arange(100) < 10, 1 - truth, truth)
      >>> judgement = judge(predictions, labels)  # doctest: +SKIP
      >>> cleaned = np.where(judgement.flagged, judgement.truth.argmax(axis=1), labels)  # doctest: +SKIP
      >>> bool((cleaned == truth).all())  # doctest: +SKIP
      True
    """
    logs = _logarithms(predictions)
    _, n, k = logs.shape
    found, wrong, truth, rate = jax.tree.map(
        np.asarray, _judged(logs, class_labels(np.asarray(labels), n, k, "labels"))
    )
    flagged = flags(wrong, precision)
    expected = float(wrong[flagged].mean()) if flagged.any() else float("nan")
    return Judgement(found, wrong, truth, flagged, expected, float(rate))


@jax.jit
def _judged(logs: Float[Array, "s n k"], given: Int[Array, "n"]) -> tuple[dict[str, Array], Array, Array, Array]:
    """The scores, P(the given label is wrong), P(true class), and the share of wrong labels."""
    logs = jax.nn.log_softmax(logs, axis=2)
    lowest = jnp.min(logs, initial=0, where=jnp.isfinite(logs)) - jnp.log(2.0)
    logs = jnp.maximum(logs, lowest)  # what has probability zero counts as half of the smallest that is not
    pooled = jnp.mean(logs, axis=0)
    found = doubts(pooled, given, _outvoted(logs))
    near, truth = jax.lax.map(lambda log_true: channel.fit_channel(log_true, given).truth, found)
    wrong, contradicted = channel.wrong(truth, given), jnp.mean(jnp.argmax(pooled, axis=1) != given)
    rate = jnp.minimum(jnp.mean(channel.wrong(near, given)), contradicted)  # the other wrong labels cannot be seen
    said = Said(jnp.exp(logs), jax.nn.softmax(pooled), wrong, given)
    return {name: score(said).astype(jnp.float32) for name, score in SCORES.items()}, wrong, truth, rate


def flags(wrong: Float[np.ndarray, "n"], precision: float) -> Bool[np.ndarray, "n"]:
    """The labels whose flagging has the largest expected F1 score, among sets of expected precision `precision`.

    Both are computed from the probabilities `wrong`, so the best sets are the likeliest labels down to a threshold.
    """
    order = np.argsort(-wrong, kind="stable")
    hits, count = np.cumsum(wrong[order], dtype=np.float64), np.arange(1, len(wrong) + 1)
    f1 = 2 * hits / (count + max(hits[-1], np.finfo(np.float32).tiny))
    allowed = int((hits / count >= precision).sum())  # a running mean of a falling sequence falls
    flagged = np.zeros(len(wrong), bool)
    flagged[order[: min(int(np.argmax(f1)) + 1, allowed)]] = True
    return flagged


def caveat(found: Judgement, given: Int[np.ndarray, "n"], *, alone: bool) -> str:
    """Why flags are not to be trusted, or what would allow more of them; empty if there is nothing to say.

    Args:
      found: the judgement.
      given: the labels.
      alone: whether one network made the predictions.
    """
    agreement, most_common = np.mean(found.scores["margin"] <= 0.5), np.bincount(given).max() / len(given)
    if agreement <= most_common:
        return (
            f"the predictions agree with {100 * agreement:.0f} % of the labels, and the most common label alone with "
            f"{100 * most_common:.0f} %: they say nothing about the labels, so do not trust what is flagged"
        )
    if alone and 1 - agreement > max(2 * found.noise_rate, _CONTRADICTED):
        contradicted, wrong = 100 * (1 - agreement), 100 * found.noise_rate
        return (
            f"the predictions contradict {contradicted:.0f} % of the labels, and {wrong:.0f} % are estimated to be "
            "wrong: one network cannot tell its own errors from wrong labels. With a second one, more can be found: "
            "method=METHOD+ridge for images, or pred_probs [s n k]"
        )
    return ""


def need_cleanlab() -> None:
    """Raise a ValueError if the package cleanlab is not installed."""
    if not importlib.util.find_spec("cleanlab"):
        raise ValueError("method 'cleanlab' needs cleanlab: pip install -e '.[denoise]'")


def through_cleanlab(found: Judgement, logits: Float[np.ndarray, "1 n k"], labels: Int[np.ndarray, "n"]) -> Judgement:
    """The same with cleanlab's own flags and scores, for cross-validated probabilities.

    Its flags promise nothing by themselves; the expected precision is the mean posterior over them.
    """
    from cleanlab.count import num_label_issues
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    probabilities, labels = confident.checked(np.exp(logits[0].astype(np.float64)), labels)
    flagged = find_label_issues(labels, probabilities, n_jobs=1)
    theirs = {
        "self_confidence": "self_confidence",
        "margin": "normalized_margin",
        "confidence_weighted_entropy": "confidence_weighted_entropy",
    }
    quality = {
        ours: (1 - get_label_quality_scores(labels, probabilities, method=name)).astype(np.float32)
        for ours, name in theirs.items()
    }
    return found._replace(
        scores=found.scores | quality,
        truth=np.where(flagged[:, None], probabilities, np.eye(probabilities.shape[1])[labels]).astype(np.float32),
        flagged=flagged,
        expected_precision=float(found.wrong[flagged].mean()) if flagged.any() else float("nan"),
        noise_rate=num_label_issues(labels, probabilities) / len(labels),
    )


def _logarithms(predictions: Any) -> Float[np.ndarray, "s n k"]:
    """The logarithms of probabilities, or logits as they are."""
    values = np.asarray(predictions)
    if values.dtype.kind not in "fiub" or values.ndim not in (2, 3) or values.shape[-1] < 2 or not values.size:
        raise ValueError(
            "predictions must be numbers, [n k] or [s n k] with two classes or more; "
            f"got {values.dtype} {list(values.shape)}"
        )
    values = values.astype(np.float32).reshape(-1, *values.shape[-2:])
    bad = np.isnan(values) | (values == np.inf)
    bad = (bad.any(axis=2) | np.isneginf(values).all(axis=2)).any(axis=0)
    if bad.any():
        raise ValueError(
            f"predictions hold NaN, +inf or only -inf in {bad.sum()} rows, the first at row {bad.argmax()}: "
            "leave these rows out, or predict them again"
        )
    if values.min() < 0 or values.max() > 1 + SUM or not values.any():
        return values
    sums = values.sum(axis=2)
    if np.abs(sums - 1).max() > SUM:
        raise ValueError(
            f"predictions are all between 0 and 1, and their rows sum to {sums.min():.3g} to {sums.max():.3g}: divide "
            "each row of probabilities by its sum; shift logits, which may be shifted by any number, below 0"
        )
    with np.errstate(divide="ignore"):
        return np.log(values)


def _outvoted(logs: Float[Array, "s n k"]) -> Float[Array, ""]:
    """The mean share of networks that the others outvote: the least mean error of networks that disagree so much."""
    k = logs.shape[2]
    votes = sum(jax.nn.one_hot(jnp.argmax(member, axis=1), k) for member in logs)
    return 1 - jnp.mean(jnp.max(votes, axis=1)) / len(logs)
