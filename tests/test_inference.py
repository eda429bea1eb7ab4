"""The statistics of the verdicts agree with SciPy's tests and with simulations."""

import numpy as np
import pytest
from scipy import stats

from experiments.reporting import inference
from experiments.reporting.contrasts import Contrast, Sample, average, mean_of, slope, weighted


def sample(values, draws=None, name=""):
    return Sample(np.asarray(values, float), draws, tuple(f"{name}{i}" for i in range(len(values))))


A, B = [0.71, 0.74, 0.69], [0.6, 0.68, 0.65]


def test_independent_seeds_are_compared_by_welchs_test():
    effect = (mean_of(sample(A, name="a")) - mean_of(sample(B, name="b"))).estimate()
    welch = stats.ttest_ind(A, B, equal_var=False, alternative="greater")
    assert effect.above() == pytest.approx(welch.pvalue) and effect.df == pytest.approx(welch.df)
    assert effect.below() == pytest.approx(1 - welch.pvalue) and not effect.paired and effect.n == 3
    assert effect.above(0.05) == pytest.approx(
        stats.ttest_ind(np.array(A) - 0.05, B, equal_var=False, alternative="greater").pvalue
    )


def test_the_same_noise_draws_are_compared_as_pairs():
    """Seeds of one draw are averaged first. Draws that only one side has are left out."""
    ours = sample([0.7, 0.8, 0.62, 0.66, 0.9, 0.1], (0, 0, 1, 1, 2, 9), "a")
    theirs = sample([0.5, 0.55, 0.6], (2, 1, 0), "b")
    effect = (mean_of(ours) - mean_of(theirs)).estimate()
    paired = stats.ttest_rel([0.75, 0.64, 0.9], [0.6, 0.55, 0.5], alternative="greater")
    assert effect.paired and effect.n == 3 and effect.df == 2
    assert effect.above() == pytest.approx(paired.pvalue)


def test_a_single_draw_is_compared_with_the_same_draw():
    ours, theirs = sample([0.7], (1,), "a"), sample([0.5, 0.65, 0.6], (0, 1, 2), "b")
    effect = (mean_of(ours) - mean_of(theirs)).estimate()
    assert effect.mean == pytest.approx(0.05) and effect.se is None and effect.paired and effect.n == 1
    elsewhere = (mean_of(sample([0.7], (9,), "a")) - mean_of(theirs)).estimate()
    assert elsewhere.mean == pytest.approx(0.7 - np.mean([0.5, 0.65, 0.6])) and not elsewhere.paired


def test_different_draws_are_independent_units():
    ours, theirs = sample([0.7, 0.8, 0.6, 0.6], (0, 0, 1, 2), "a"), sample(B, None, "b")
    effect = (mean_of(ours) - mean_of(theirs)).estimate()
    welch = stats.ttest_ind([0.75, 0.6, 0.6], B, equal_var=False, alternative="greater")
    assert not effect.paired and effect.above() == pytest.approx(welch.pvalue)


def test_a_baseline_that_two_differences_share_cancels_in_their_difference():
    one, two, full = (mean_of(sample(v, name=n)) for v, n in ((A, "a"), (B, "b"), ([0.1, 0.9, 0.5], "c")))
    direct, by_way_of_full = (one - two).estimate(), ((one - full) - (two - full)).estimate()
    assert by_way_of_full[:2] == pytest.approx(direct[:2]) and by_way_of_full.df == pytest.approx(direct.df)
    assert average([one - full, two - full]).estimate().mean == pytest.approx(np.mean([np.mean(A), np.mean(B)]) - 0.5)


def test_the_slope_is_least_squares_with_its_standard_error():
    rates = (0.0, 0.2, 0.4, 0.8)
    cells = [[r**2 + d for d in (-0.1, 0.0, 0.1)] for r in rates]
    line = slope({r: mean_of(sample(v, name=str(r))) for r, v in zip(rates, cells, strict=True)}).estimate()
    assert line.mean == pytest.approx(np.polyfit(rates, [r**2 for r in rates], 1)[0])
    assert line.se == pytest.approx(0.1 / np.sqrt(3) / np.sqrt(np.sum((np.array(rates) - np.mean(rates)) ** 2)))


def test_values_without_spread_and_few_seeds_have_p_value_one():
    few, drawn = mean_of(sample([0.5, 0.501])).estimate(), (0, 1, 2)
    for equal in (0.5, 0.7):  # the mean of three times 0.7 is rounded, and so are the differences
        same = mean_of(sample([equal] * 3)).estimate()
        higher = mean_of(sample([0.9, 0.8, 0.6], drawn, "a")) - mean_of(sample([0.8, 0.7, 0.5], drawn, "b"))
        for one in (same, higher.estimate()):
            assert one.se == 0 and one.above() == one.below() == 1.0
    assert few.se > 0 and few.above() == 1.0
    assert mean_of(sample([0.5])).estimate().se is None


def test_a_small_sample_that_varies_most_is_not_rejected_too_often():
    """Three seeds beside eight, at the level of 18 comparisons, which Satterthwaite's df exceed fivefold."""
    rng, level = np.random.default_rng(0), inference.LEVEL / 18
    ours, theirs = 4 * rng.normal(size=(3, 20_000)), rng.normal(size=(8, 20_000))
    effect = (mean_of(sample(ours, name="a")) - mean_of(sample(theirs, name="b"))).estimate()
    assert effect.n == 3 and np.all(effect.df == 2) and np.mean(effect.above() <= level) < 1.5 * level


def test_holms_correction():
    p = [0.01, 0.04, 0.03, 0.005]
    np.testing.assert_allclose(inference.holm(p), [0.03, 0.06, 0.06, 0.02])  # computed by hand
    several = np.random.default_rng(0).random((5, 7))
    for column in range(7):
        np.testing.assert_allclose(inference.holm(several)[:, column], inference.holm(several[:, column]))


def test_all_hypotheses_and_one_of_them():
    p = np.array([[0.01, 0.5, 0.9], [0.2, 0.1, 0.8]])
    np.testing.assert_allclose(inference.every(p), [0.2, 0.5, 0.9])
    np.testing.assert_allclose(inference.some(p), [0.02, 0.2, 1.0])


def test_the_family_wise_error_rate_is_the_level():
    p = np.random.default_rng(0).random((18, 20_000))
    assert np.mean(np.any(inference.holm(p) <= inference.LEVEL, axis=0)) == pytest.approx(inference.LEVEL, abs=0.003)
    assert np.mean(np.any(p <= inference.LEVEL, axis=0)) > 0.35  # 18 comparisons without correction


@pytest.mark.parametrize(
    ("n", "spread", "paired", "power"),
    [(3, (1.0, 1.0), True, 0.8), (5, (1.0, 3.0), False, 0.8), (8, (1.0, 1.0), False, 0.8), (3, (1.0, 1.0), False, 0.7)],
)
def test_the_detectable_effect_is_detected_with_the_stated_power(n, spread, paired, power):
    """The effect is the one that is detectable with the true standard error; there are 20,000 studies.

    With three independent seeds per side the power is 0.7, because Welch's degrees of freedom are estimates.
    """
    rng, draws = np.random.default_rng(0), tuple(range(n)) if paired else None
    variances = [s**2 / n for s in spread]
    df = float(n - 1 if paired else inference.satterthwaite(variances, [n - 1, n - 1]))
    effect = inference.detectable(float(np.sqrt(sum(variances))), df)
    ours, theirs = (s * rng.normal(size=(n, 20_000)) for s in spread)
    found = (mean_of(sample(ours + effect, draws, "a")) - mean_of(sample(theirs, draws, "b"))).estimate()
    assert found.paired == paired
    assert np.mean(found.above() <= inference.LEVEL) == pytest.approx(power, abs=0.02)


@pytest.mark.parametrize(("n", "df"), [(3, 4.0), (2, 1.0)])
def test_the_needed_seeds_detect_the_effect_and_one_fewer_does_not(n, df):
    known = {"se": 0.02, "df": df, "n": n}
    needed = inference.seeds_needed(0.03, **known)
    for seeds, enough in ((needed, True), (needed - 1, False)):
        least = inference.detectable(0.02 * np.sqrt(n / seeds), df * (seeds - 1) / (n - 1))
        assert (least <= 0.03) == enough
    assert inference.seeds_needed(-0.03, **known) == needed
    assert inference.seeds_needed(0.0, **known) is None and inference.seeds_needed(1e-5, **known) is None


def test_contrasts_of_arrays_of_studies_equal_those_of_single_studies():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    many = weighted([(2.0, mean_of(sample(ours, name="a"))), (-1.0, mean_of(sample(theirs, name="b")))]).estimate()
    for i in range(4):
        alone = Contrast(((2.0, sample(ours[:, i], name="a")), (-1.0, sample(theirs[:, i], name="b")))).estimate()
        assert (many.mean[i], many.se[i], many.df[i]) == pytest.approx((alone.mean, alone.se, alone.df))
        assert many.above()[i] == pytest.approx(alone.above())
