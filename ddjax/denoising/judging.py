"""From what networks say about an image to how suspicious its label is, whether it is flagged, and what it may be."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ddjax.names import choose, unknown
from ddjax.robust import channel, confident, scores

CALIBRATIONS = ("channel", "mixture")
_TINY = 1e-12


class Said(NamedTuple):
    """What a score reads."""

    members: Float[Array, "s n k"]  # probabilities of each network
    mean: Float[Array, "n k"]  # and of all together
    wrong: Float[Array, "n"]  # P(the given label is wrong)
    labels: Int[Array, "n"]


class Judgement(NamedTuple):
    """Everything that is said about each label."""

    scores: dict[str, Float[np.ndarray, "n"]]  # larger is more suspicious
    wrong: Float[np.ndarray, "n"]
    truth: Float[np.ndarray, "n k"]  # P(true class | image, given label)
    flagged: Bool[np.ndarray, "n"]
    expected_precision: float  # of the flags; NaN where there are none
    noise_rate: float
    temperature: float


def _hybrid(said: Said) -> Array:
    """Mean rank by margin, by the posterior and by the students' votes, least suspicious first, in [0, 1]."""
    votes = scores.disagreement(said.members, said.labels)
    each = [said.wrong, scores.margin(said.mean, said.labels), votes]
    return sum(1 - scores.rank(one) / max(len(said.labels) - 1, 1) for one in each) / len(each)


SCORES: Mapping[str, Callable[[Said], Array]] = {
    "posterior": lambda said: said.wrong,
    **{name: (lambda said, score=score: score(said.mean, said.labels)) for name, score in scores.SCORES.items()},
    "disagreement": lambda said: scores.disagreement(said.members, said.labels),
    "hybrid": _hybrid,
}


def judge(
    logits: Float[np.ndarray, "s n k"],
    labels: Int[np.ndarray, "n"],
    *,
    precision: float,
    calibration: str = "channel",
    in_sample: bool = False,
) -> Judgement:
    """Score, flag and relabel.

    A label is flagged where it is likelier wrong than right, as far as the mean posterior of the flagged stays at or
    above `precision`; that mean is the expected precision. The posterior comes from the channel that explains the
    given labels best (`ddjax.robust.channel`), or from a mixture of two losses, shrunk to the noise rate of confident
    learning. Networks that trained on the labels they judge (`in_sample`) leave the channel nothing to explain: there
    the mixture is used, without that bound.
    """
    if calibration not in CALIBRATIONS:
        raise unknown("calibration", calibration, CALIBRATIONS)
    pooled, given = jnp.mean(jnp.asarray(logits), axis=0), jnp.asarray(labels)
    found = channel.fit_channel(pooled, given)
    temperature = jnp.float32(1) if in_sample else found.temperature
    members, mean = jax.nn.softmax(logits / temperature), jax.nn.softmax(pooled / temperature)
    bound = 1.0 if in_sample else confident.noise_rate(np.asarray(jax.nn.softmax(pooled)), labels)
    if in_sample or calibration == "mixture":
        wrong = scores.wrong_probability(scores.loss(mean, given), bound)
    else:
        wrong = channel.wrong(found, given)
        wrong *= jnp.minimum(1, bound / jnp.maximum(jnp.mean(wrong), _TINY))
    truth = _believed(found.truth if calibration == "channel" and not in_sample else mean, given, wrong)
    flagged, _ = scores.flag_at_precision(wrong, precision)
    flagged = np.asarray(flagged & (wrong > 0.5))
    said = Said(members, mean, wrong, given)
    return Judgement(
        {name: np.asarray(score(said), np.float32) for name, score in SCORES.items()},
        np.asarray(wrong),
        np.asarray(truth),
        flagged,
        float(np.asarray(wrong)[flagged].mean()) if flagged.any() else float("nan"),
        float(jnp.mean(wrong)),
        float(temperature),
    )


def through_cleanlab(found: Judgement, logits: Float[np.ndarray, "1 n k"], labels: Int[np.ndarray, "n"]) -> Judgement:
    """The same with cleanlab's own flags and scores, for cross-validated probabilities.

    Its flags promise nothing by themselves; the expected precision is the mean posterior over them.
    """
    try:
        from cleanlab.count import num_label_issues
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError as error:
        raise ValueError("method 'cleanlab' needs cleanlab: pip install -e '.[denoise]'") from error
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


def choose_score(found: Judgement, name: str) -> Float[np.ndarray, "n"]:
    """One of the scores by its name."""
    return choose(found.scores, name, "score")


def _believed(classes: Array, given: Array, wrong: Array) -> Array:
    """P(true class) where a label is wrong with this probability, the other classes in the proportions they have."""
    own = jax.nn.one_hot(given, classes.shape[1])
    others = (classes + _TINY) * (1 - own)
    return (1 - wrong)[:, None] * own + wrong[:, None] * others / jnp.sum(others, axis=1, keepdims=True)
