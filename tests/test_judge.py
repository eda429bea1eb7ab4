"""The public judge: what it flags, what it promises, and what it accepts; on made-up predictions with known truth."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import ddjax
from ddjax.denoising.clusters import class_given_prediction
from ddjax.denoising.doubt import error, with_error
from ddjax.denoising.judging import SCORES, Judgement, caveat, flags

K, N = 4, 800
CHANNEL = np.eye(K) * 0.6 + 0.1
CHANNEL[2] = [0.0, 0.3, 0.7, 0.0]


def draw(p, rng):
    return (p.cumsum(axis=1) > rng.random((len(p), 1))).argmax(axis=1)


def problem(apart, transition=CHANNEL, flat=4.0, seed=0, n=N):
    """Gaussian clusters of logits around `apart` times the unit vectors, over `flat`, with labels of a channel."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(K, size=n)
    logits = (rng.standard_normal((n, K)) + apart * np.eye(K)[truth]) / flat
    return logits.astype(np.float32), draw(transition[truth], rng), truth


def f1(flagged, wrong):
    return 2 * (flagged & wrong).sum() / (flagged.sum() + wrong.sum())


@pytest.mark.parametrize("apart", [4.0, 6.0])
def test_flags_rate_and_promise_come_true_under_channel_noise(apart):
    logits, given, truth = problem(apart)
    found, wrong = ddjax.judge(logits, given), given != truth
    assert f1(found.flagged, wrong) > f1(logits.argmax(axis=1) != given, wrong) - 0.005
    assert abs(found.noise_rate - wrong.mean()) < 0.03
    assert found.noise_rate > found.wrong.mean() + 1e-3  # mistakes far from boundaries excuse single labels only
    assert abs(found.expected_precision - wrong[found.flagged].mean()) < 0.06
    assert roc_auc_score(wrong, found.wrong) > 0.95
    corrected = np.where(found.flagged, found.truth.argmax(axis=1), given)
    assert (corrected == truth).mean() > 0.9


def test_images_that_people_confuse_are_flagged():
    """Instance-dependent noise: half of the images of a kind that lies nearer to the next class have that label."""
    rng = np.random.default_rng(1)
    truth, odd = rng.integers(K, size=N), rng.random(N) < 0.4
    centre = 6 * np.eye(K)[truth] + np.where(odd[:, None], 2.5 * np.eye(K)[(truth + 1) % K], 0)
    logits = (centre + rng.standard_normal((N, K))) / 6
    given = np.where(odd & (rng.random(N) < 0.5), (truth + 1) % K, truth)
    found, wrong = ddjax.judge(logits, given), given != truth
    assert f1(found.flagged, wrong) > 0.95 and abs(found.noise_rate - wrong.mean()) < 0.03
    # these predictions have none of the far mistakes that the promise allows for
    assert -0.1 < found.expected_precision - wrong[found.flagged].mean() < 0.05


@pytest.mark.parametrize("apart", [1.5, 2.5, 6.0])
def test_right_labels_are_left_alone_by_weak_and_strong_networks(apart):
    logits, given, truth = problem(apart, np.eye(K))
    found = ddjax.judge(logits, given)
    assert found.flagged.mean() <= 0.01 and found.noise_rate <= 0.02
    assert apart > 2 or (logits.argmax(axis=1) != truth).mean() > 0.25  # a weak network, indeed


@pytest.mark.parametrize("transition", [CHANNEL, np.eye(K) * 0.6 + 0.1], ids=["channel", "symmetric"])
def test_weak_networks_whose_predictions_lie_in_false_clusters_keep_the_promise(transition):
    """Saturated scores form clusters that look tighter than the classes are: half of the true error."""
    logits, given, truth = problem(1.5, transition, flat=1.0)
    logits = np.tanh(1.5 * (logits - logits.mean(axis=1, keepdims=True)))
    clustered = float(error(class_given_prediction(jnp.asarray(logits), jnp.asarray(given))))
    assert clustered < 0.6 * (logits.argmax(axis=1) != truth).mean()
    found, wrong = ddjax.judge(logits, given), given != truth
    assert found.flagged.mean() > 0.1 and abs(found.noise_rate - wrong.mean()) < 0.03
    assert abs(found.expected_precision - wrong[found.flagged].mean()) < 0.05


def calibrated(noise, flip=0.4, share=0.6):
    """A network that says how often people give each label: on a share of the images, some see the next class."""
    rng = np.random.default_rng(1)
    truth, odd = rng.integers(K, size=N), rng.random(N) < share
    other, rows, p = (truth + 1) % K, np.arange(N), np.full((N, K), 0.01)
    p[rows, truth], p[rows, other] = np.where(odd, 1 - flip, 0.97), np.where(odd, flip, 0.01)
    given = np.where(odd & (rng.random(N) < flip), other, truth)
    return (np.log(p) + noise * rng.standard_normal((N, K))).astype(np.float32), given, given != truth


def test_better_predictions_flag_no_fewer_wrong_labels():
    """The likelihood of the labels explains all of this noise by doubt of the network, and flags nothing."""
    recalls = []
    for noise in (1.0, 0.6, 0.3, 0.1):
        logits, given, wrong = calibrated(noise)
        found = ddjax.judge(logits, given)
        recalls.append((found.flagged & wrong).sum() / wrong.sum())
        assert (found.flagged & ~wrong).sum() <= 0.02 * N
    assert all(later >= earlier for earlier, later in itertools.pairwise(recalls)), recalls
    assert recalls[0] > 0.5 and recalls[-1] > 0.97


def test_how_sure_the_network_is_of_itself_is_immaterial():
    logits, given, _ = problem(4.0)
    one, other = ddjax.judge(logits, given), ddjax.judge(20 * logits, given)
    np.testing.assert_allclose(one.wrong, other.wrong, atol=0.01)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ddjax.judge(p.astype(np.float16), given).wrong, one.wrong, atol=0.02)


def test_permuted_classes_change_nothing():
    logits, given, _ = problem(3.0)
    order = np.array([2, 0, 3, 1])
    one, other = ddjax.judge(logits, given), ddjax.judge(logits[:, order], np.argsort(order)[given])
    np.testing.assert_allclose(one.wrong, other.wrong, atol=1e-3)
    np.testing.assert_allclose(one.truth[:, order], other.truth, atol=1e-3)


def test_networks_that_disagree_cannot_all_be_right():
    logits, given, _ = problem(5.0)
    rng = np.random.default_rng(3)
    others = (5 * np.eye(K)[rng.integers(K, size=N)] + rng.standard_normal((N, K))).astype(np.float32) / 4
    sure = ddjax.judge(np.stack([logits, logits]), given)
    np.testing.assert_allclose(sure.wrong, ddjax.judge(logits, given).wrong, atol=1e-3)
    torn = ddjax.judge(np.stack([logits, np.where(np.arange(N)[:, None] % 2 == 0, logits, others)]), given)
    assert torn.truth.max(axis=1).mean() < sure.truth.max(axis=1).mean() - 0.05
    assert set(torn.scores) == set(SCORES)


def test_copies_of_a_weak_network_count_as_one():
    """Clusters of weak predictions are too tight; agreement of three copies is no evidence for them."""
    logits, given, _ = problem(1.5, flat=1.0)
    logits = np.tanh(1.5 * (logits - logits.mean(axis=1, keepdims=True)))
    one, copies = ddjax.judge(logits, given), ddjax.judge(np.stack([logits] * 3), given)
    np.testing.assert_allclose(copies.wrong, one.wrong, atol=1e-3)
    assert copies.noise_rate == pytest.approx(one.noise_rate, abs=1e-3)


def test_flags_have_the_largest_expected_f1_that_the_precision_allows():
    wrong = np.array([0.2, 0.95, 0.9, 0.1, 0.45, 0.01], np.float32)
    np.testing.assert_array_equal(flags(wrong, 0.5), [False, True, True, False, True, False])
    np.testing.assert_array_equal(flags(wrong, 0.9), [False, True, True, False, False, False])
    assert not flags(wrong, 0.99).any()


def test_a_wanted_error_is_met():
    logits = jnp.asarray(problem(3.0, n=200)[0])
    for wanted in (0.01, 0.2, 0.6):
        assert float(error(with_error(logits, jnp.float32(wanted)))) == pytest.approx(wanted, abs=1e-3)
    assert float(error(with_error(logits, jnp.float32(0.9)))) == pytest.approx(
        1 - 1 / K, abs=1e-2
    )  # no worse than chance


@pytest.mark.parametrize("freedom", ["logits", "one-hot"])
@pytest.mark.parametrize(("n", "k"), [(4, 3), pytest.param(300, 2, marks=pytest.mark.slow)])
def test_degenerate_predictions_have_a_finite_answer(n, k, freedom):
    rng = np.random.default_rng(0)
    predictions = rng.standard_normal((n, k))
    predictions[:, -1] = -np.inf  # a class that is never predicted, nor given
    if freedom == "one-hot":
        predictions = np.eye(k)[predictions.argmax(axis=1)]
    given = np.maximum(predictions[:, : k - 1].argmax(axis=1), (rng.random(n) < 0.1) * (k - 2))
    found = ddjax.judge(predictions, given)
    assert np.isfinite(found.wrong).all() and np.isfinite(found.truth).all() and 0 <= found.noise_rate <= 0.5
    assert all(np.isfinite(score).all() for score in found.scores.values())


def test_predictions_that_say_nothing_accuse_nobody():
    given = np.random.default_rng(0).integers(K, size=N)
    found = ddjax.judge(np.full((N, K), 1 / K), given)
    assert not found.flagged.any() and np.isnan(found.expected_precision)


def test_small_classes_do_not_look_tighter_than_they_are():
    """Ten images a class in 29 dimensions: with their own pull on the centres left in, the error is 0.08."""
    rng = np.random.default_rng(0)
    truth = rng.integers(30, size=300)
    logits = rng.standard_normal((300, 30)) + 3.0 * np.eye(30)[truth]
    found = class_given_prediction(
        jnp.asarray(logits - logits.max(axis=1, keepdims=True), jnp.float32), jnp.asarray(truth)
    )
    assert float(error(found)) > 0.15


@pytest.mark.parametrize(
    ("predictions", "labels", "words"),
    [
        (np.zeros((3, 1)), [0, 0, 0], r"two classes or more; got float64 \[3, 1\]"),
        (np.zeros(3), [0, 0, 0], r"\[n k\] or \[s n k\]"),
        (np.full((3, 2), "x"), [0, 0, 0], "must be numbers"),
        (np.array([[0, 1], [np.nan, 0], [0, 1]]), [0, 0, 0], "1 rows, the first at row 1"),
        (np.array([[0, 1], [-np.inf, -np.inf]]), [0, 0], "first at row 1"),
        (np.full((3, 2), 0.4), [0, 1, 1], r"rows sum to 0\.8 to 0\.8: divide"),
        (np.zeros((3, 2)), [0, 1, 2], "holds class 2"),
        (np.zeros((3, 2)), [0, 1], r"labels has shape \[2\], but there are 3 examples"),
    ],
)
def test_what_cannot_be_judged_is_said(predictions, labels, words):
    with pytest.raises(ValueError, match=words):
        ddjax.judge(predictions, np.asarray(labels))


def test_one_network_that_contradicts_many_labels_is_named():
    given = np.arange(12) % 2
    margin = np.where(np.arange(12) % 3 == 0, 0.8, 0.2)
    found = Judgement({"margin": margin}, 0 * margin, np.eye(2), given > 1, np.nan, 0.1)
    assert caveat(found, given, alone=False) == ""
    words = "contradict 33 % of the labels, and 10 % are estimated to be wrong: one network cannot tell its own errors"
    assert words in caveat(found, given, alone=True)


def test_a_precision_is_a_share():
    for precision in (1.5, "0.5"):
        with pytest.raises(ValueError, match="precision must be a finite number above 0 and at most 1; got"):
            ddjax.judge(np.zeros((3, 2)), np.array([0, 1, 1]), precision=precision)


def test_the_benchmark_compares_with_argmax_and_cleanlab(tmp_path):
    from experiments.bench import show
    from experiments.benchmarks.judging import compared, judged, load, means
    from experiments.benchmarks.measure import Settings

    pytest.importorskip("cleanlab")
    logits, given, truth = problem(4.0)
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    np.savez(tmp_path / "made.npz", pred_probs=p.astype(np.float16), given=given, truth=truth)
    rows = list(compared("made", load(tmp_path / "made.npz")))
    assert [row["method"].split()[0] for row in rows] == ["ddjax", "argmax", "cleanlab"]
    ours, argmax, theirs = rows
    assert ours["f1"] > max(argmax["f1"], theirs["f1"]) - 0.01 and ours["auroc"] > 0.9
    assert ours["noise_rate"] == pytest.approx((given != truth).mean())
    *_, best = means(rows, 1)
    assert best["method"] == "best other" and best["f1"] == max(argmax["f1"], theirs["f1"])
    show(rows, Settings())
    np.savez(tmp_path / "made.npz", pred_probs=np.stack([p, p]), given=given, truth=truth)  # of two networks
    _, *others = compared("made", load(tmp_path / "made.npz"))
    assert [row["f1"] for row in others] == pytest.approx([argmax["f1"], theirs["f1"]], abs=0.005)
    np.savez(tmp_path / "made.npz", pred_probs=p, given=given)
    with pytest.raises(ValueError, match="has no truth"):
        load(tmp_path / "made.npz")
    with pytest.raises(ValueError, match="add --files"):
        next(judged(Settings()))
