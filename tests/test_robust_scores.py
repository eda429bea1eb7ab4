"""Scores of label-error detection: the mixture's published fit, and comparisons with cleanlab."""

import statistics

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax.robust import confident, scores
from ddjax.robust.mixture import clean_probability, fitted

GIVEN = np.repeat([0, 1, 2], 4)
ROWS = np.array(
    [
        [0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.05, 0.9, 0.05], [0.1, 0.8, 0.1],
        [0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [0.05, 0.05, 0.9], [0.1, 0.1, 0.8], [0.1, 0.2, 0.7], [0.8, 0.1, 0.1],
    ]
)  # fmt: skip


def two_groups():
    def quantiles(count, mean, deviation):
        return [statistics.NormalDist(mean, deviation).inv_cdf((i + 0.5) / count) for i in range(count)]

    return np.array(quantiles(800, 0.1, 0.05) + quantiles(200, 0.6, 0.15))


def random_problem(n=300, k=4, seed=0):
    """Labels of which a quarter were redrawn, and probabilities that lean towards the true ones."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(k, size=n)
    given = np.where(rng.random(n) < 0.25, rng.integers(k, size=n), truth)
    logits = rng.standard_normal((n, k)) + 2.5 * np.eye(k)[truth]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), given, truth


@pytest.mark.slow
def test_mixture_fit():
    with jax.enable_x64(True):
        values = jnp.sort(jnp.asarray(two_groups()))
        found = jax.jit(fitted)(values, jnp.ones(1000), values)
        np.testing.assert_allclose(found.means, [0.10029529, 0.60245584], atol=1e-7)
        np.testing.assert_allclose(jnp.sqrt(found.variances), [0.05511327, 0.14897932], atol=1e-7)
        np.testing.assert_allclose(found.shares, [0.80144855, 0.19855145], atol=1e-7)
        low = clean_probability(values)
        assert (np.diff(low) <= 1e-12).all() and low[0] == 1 and low[-1] < 1e-6
        mask = jnp.arange(1000) % 3 == 0  # the fit of a part is the fit of that part alone
        np.testing.assert_allclose(clean_probability(values, mask)[mask], clean_probability(values[mask]), rtol=1e-9)


def test_clean_probability_ignores_repetition_scale_and_outliers():
    losses, probability = jnp.asarray(two_groups(), jnp.float32), jax.jit(clean_probability)
    found = probability(losses)
    np.testing.assert_allclose(probability(jnp.tile(losses, 3)), jnp.tile(found, 3), atol=1e-4)
    np.testing.assert_allclose(probability(100 * losses + 7), found, atol=1e-3)
    wild = probability(losses.at[-1].set(1e4))
    np.testing.assert_allclose(wild[:-1], found[:-1], atol=0.05)


def test_few_large_losses_stand_out_from_equal_ones():
    """A saturated network has a loss of exactly 0 for most labels: the 10 % and 90 % quantiles are equal."""
    found = jax.jit(clean_probability)(jnp.zeros(1000).at[:60].set(jnp.linspace(2, 6, 60)))
    assert found[:60].max() < 0.01 and found[60:].min() > 0.99  # 0.5 for each wrong label if the start is symmetric


def test_scores_by_hand():
    p, given = jnp.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3]]), jnp.array([0, 2])
    np.testing.assert_allclose(scores.self_confidence(p, given), [0.3, 0.7], rtol=1e-6)
    np.testing.assert_allclose(scores.margin(p, given), [0.25, 0.6], rtol=1e-6)
    np.testing.assert_allclose(scores.loss(p, given), -np.log([0.7, 0.3]), rtol=1e-6)
    members = jnp.stack([p, p, jnp.flip(p, axis=1)])
    found = scores.disagreement(members, given)
    np.testing.assert_allclose(found, np.array([1 / 3, 1.0]) + np.array([0.5, 2.2 / 3]) / 6, rtol=1e-5)
    np.testing.assert_array_equal(scores.rank(jnp.array([0.1, 0.9, 0.5, 0.9])), [3, 0, 2, 1])


def test_confident_learning_refuses_what_it_cannot_count():
    with pytest.raises(ValueError, match="classes without: \\[2\\]"):
        confident.checked(ROWS, np.minimum(GIVEN, 1))
    with pytest.raises(ValueError, match="softmax"):
        confident.checked(10 * ROWS, GIVEN)


@pytest.mark.parametrize("seed", range(3))
def test_counts_and_scores_are_those_of_cleanlab(seed):
    count = pytest.importorskip("cleanlab.count")
    from cleanlab.rank import get_label_quality_scores

    p, given, _ = random_problem(seed=seed)
    joint = confident.calibrated(count.compute_confident_joint(given, p, calibrate=False), given)
    np.testing.assert_array_equal(joint.sum(axis=1), np.bincount(given))
    theirs = count.compute_confident_joint(given, p)
    assert (joint >= 0).all() and np.abs(joint - theirs).max() <= 1  # the two round differently
    noise = count.estimate_latent(theirs, given)[1]
    weights = 1 / np.diag(noise)
    np.testing.assert_allclose(confident.class_weights(theirs), weights / weights.mean(), rtol=1e-5)
    names = ["self_confidence", "normalized_margin", "confidence_weighted_entropy"]
    for name, ours in zip(names, ["self_confidence", "margin", "confidence_weighted_entropy"], strict=True):
        quality = get_label_quality_scores(given, p, method=name)
        mine = np.asarray(jax.jit(scores.SCORES[ours])(p.astype(np.float32), given))
        order = np.argsort(quality)
        assert (np.diff(mine[order]) <= 1e-5).all(), name  # theirs rise with quality, ours with suspicion
