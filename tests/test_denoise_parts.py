"""The channel that explains given labels, and the measures of detection against scikit-learn's."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from ddjax.data.identical import conflicts, first_rows
from ddjax.denoising.distilling import configured, least_images
from ddjax.distillers import DISTILLERS
from ddjax.evaluation.detection import average_precision, detection, reliability
from ddjax.evaluation.measures import auc
from ddjax.robust.channel import fit_channel, wrong

K = 4


def problem(transition, n=4000, sharp=3.0, seed=0):
    """Labels drawn through a channel from a truth that the log-probabilities describe exactly."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n, K)) * 1.5 * sharp

    def draw(p):
        return (p.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)

    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    truth = draw(p)
    return jnp.asarray(np.log(p), jnp.float32), jnp.asarray(draw(transition[truth])), truth


def test_a_channel_is_found_and_its_posteriors_mean_what_they_say():
    transition = np.eye(K) * 0.6 + 0.1
    transition[2] = [0.0, 0.3, 0.7, 0.0]
    logits, given, truth = problem(transition)
    found = fit_channel(logits, given)
    assert 0.5 * np.abs(np.asarray(found.transition) - transition).sum(axis=1).mean() < 0.05  # total variation
    posterior, errors = np.asarray(wrong(found.truth, given)), np.asarray(given) != truth
    for low, high in [(0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.0)]:
        inside = (posterior >= low) & (posterior <= high)
        assert abs(posterior[inside].mean() - errors[inside].mean()) < 0.06, (low, high)
    np.testing.assert_allclose(np.asarray(found.truth).sum(axis=1), 1, rtol=1e-4)


def test_errors_of_the_network_are_not_taken_for_wrong_labels():
    logits, given, truth = problem(np.eye(K), sharp=1.5)
    assert (np.asarray(logits).argmax(axis=1) != truth).mean() > 0.1
    found = fit_channel(logits, given)
    posterior = np.asarray(wrong(found.truth, given))
    assert posterior.mean() < 0.02 and (posterior > 0.5).mean() < 0.002


def test_permuted_classes_permute_the_channel():
    logits, given, _ = problem(np.eye(K) * 0.6 + 0.1, n=500)
    order = np.array([2, 0, 3, 1])
    one, other = fit_channel(logits, given), fit_channel(logits[:, order], jnp.asarray(np.argsort(order))[given])
    np.testing.assert_allclose(other.transition, np.asarray(one.transition)[np.ix_(order, order)], atol=1e-4)
    np.testing.assert_allclose(
        wrong(other.truth, jnp.asarray(np.argsort(order))[given]), wrong(one.truth, given), atol=1e-3
    )


def test_detection_against_scikit_learn():
    rng = np.random.default_rng(1)
    clean, given = rng.integers(3, size=(2, 200))
    suspicion = np.round(rng.random(200) + 0.5 * (clean != given), 1)  # with ties
    flagged, bad = suspicion > 0.9, clean != given
    found = detection(suspicion, flagged, np.where(flagged, clean, given), given, clean)
    precision, recall, f1, _ = precision_recall_fscore_support(bad, flagged, average="binary")
    wanted = {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "auroc": roc_auc_score(bad, suspicion),
        "auprc": average_precision_score(bad, suspicion),
    }
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value), name
    rate = found["noise_rate"]
    assert found["corrected_acc"] == pytest.approx((1 - rate) * (1 - found["harmed"]) + rate * found["fixed"])


def test_a_reliability_curve_is_of_the_filled_bins():
    probability, wrong = np.array([0.0, 0.05, 0.31, 0.39, 1.0]), np.array([False, False, True, False, True])
    found = reliability(probability, wrong)
    np.testing.assert_allclose(found.promised, [0.025, 0.35, 1.0])
    np.testing.assert_allclose(found.true, [0, 0.5, 1])
    np.testing.assert_array_equal(found.count, [2, 2, 1])
    assert found.error == pytest.approx((2 * 0.025 + 2 * 0.15) / 5)


def test_detection_fixtures():
    suspicion, bad = np.array([0.9, 0.8, 0.3, 0.1]), np.array([True, False, True, False])
    assert average_precision(suspicion, bad) == pytest.approx(0.833333, abs=1e-6)
    found = detection(suspicion, np.zeros(4, bool), np.zeros(4, int), bad.astype(int), np.zeros(4, int))
    assert found["at_rate"] == 0.5 and found["missed_at_rate"] == 0.5  # of the two most suspicious labels one is wrong
    assert found["auroc"] == 0.75 and np.isnan(found["precision"]) and found["f1"] == 0
    clean = detection(suspicion, suspicion > 0.85, np.zeros(4, int), np.zeros(4, int), np.zeros(4, int))
    assert clean["false_flags"] == 0.25 and np.isnan(clean["auroc"]) and np.isnan(clean["recall"])


LEAST = [
    ("herding", {}, 7),
    ("herding", {"short_class": "repeat"}, 1),
    ("dance", {}, 7),
    ("dance", {"start": "noise"}, 1),
    ("datm", {"start": "real", "short_class": "real"}, 7),
    ("datm", {"start": "noise", "learn_labels": False}, 1),
    ("kip", {}, 7),
]


@pytest.mark.parametrize(("name", "options", "least"), LEAST)
def test_how_many_images_a_class_must_hold(name, options, least):
    config = configured(DISTILLERS[name], name, 7, options, 64, True)
    assert least_images(name, config) == least and least_images("module:method", config) == 1


def test_identical_pictures_are_those_of_the_same_pixels():
    rng = np.random.default_rng(0)
    which, labels = rng.integers(40, size=(2, 300))
    pictures = rng.integers(256, size=(40, 3, 2, 1)).astype(np.uint8)
    first = first_rows(pictures[which])
    assert first.tolist() == [which.tolist().index(one) for one in which]
    labels[which < 20] = which[which < 20]  # these have one label each
    found = conflicts(first, labels)
    assert [which[rows[0]] for rows in found] == [one for one in dict.fromkeys(which.tolist()) if one >= 20]
    assert all((which[rows] == which[rows[0]]).all() and len(rows) == (which == which[rows[0]]).sum() for rows in found)
    assert conflicts(first_rows(pictures), labels[:40]) == []


def test_scores_of_half_precision_are_ranked_like_others():
    scores = np.random.default_rng(0).uniform(size=3000).astype(np.float16)
    wrong = np.arange(3000) % 3 == 0
    exact = scores.astype(np.float64)
    assert auc(scores[wrong], scores[~wrong]) == auc(exact[wrong], exact[~wrong])
    assert average_precision(scores, wrong) == average_precision(exact, wrong)
