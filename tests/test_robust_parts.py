"""Invariants of the parts of nested dropout, PLS and LSA, EchoSelect, the prototype cleaner and STORM."""

import statistics

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ddjax.models import build
from ddjax.robust import dynamics
from ddjax.robust.rule import sharpened
from ddjax.robust.rules import cpc, echo, mixup, nested, pls, storm
from ddjax.robust.separator import separate
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Given, Outputs, Stats

MODEL = build("mlp", (2, 2, 1), 3, depth=1, width=6)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def batch(b=6, present=None):
    labels = jnp.arange(b) % 3
    present = jnp.ones(b) if present is None else jnp.asarray(present, jnp.float32)
    return Batch(
        normal(0, 1, b, 2, 2, 1), jax.nn.one_hot(labels, 3), labels, jnp.arange(b), present, jnp.ones(b), jnp.int32(9)
    )


@pytest.mark.parametrize("spread, mean, first, tail", [(10.0, 5.969, 10, 0.18943), (100.0, 56.738, 50, 0.48665)])
def test_nested_widths_have_the_published_distribution(spread, mean, first, tail):
    shares = np.exp(nested.log_shares(spread, 512))
    assert shares.sum() == pytest.approx(1, abs=1e-6)
    assert (shares * np.arange(1, 513)).sum() == pytest.approx(mean, abs=1e-3)
    assert shares[first - 1 :].sum() == pytest.approx(tail, abs=1e-5)


@pytest.mark.slow
def test_thinning_is_a_mask_on_the_features():
    params, images = MODEL.init(jax.random.key(0)), normal(1, 5, 2, 2, 1)
    kernel = params["head"]["kernel"]
    mask = jnp.array([1.0, 1, 0, 0, 0, 0])
    thin = nested.keep_first(params, 2)
    expected = (MODEL.features(params, images) * mask[None]) @ kernel
    np.testing.assert_allclose(MODEL.apply(thin, images), expected, rtol=1e-5, atol=1e-6)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(MODEL.apply(nested.keep_first(p, 2), images) ** 2)))(params)["head"]
    assert not gradient["kernel"][mask == 0].any() and not gradient["bias"].any()
    assert gradient["kernel"][mask == 1].any()


def test_width_is_chosen_by_held_out_labels():
    params, images = MODEL.init(jax.random.key(0)), normal(1, 40, 2, 2, 1)
    labels = jnp.argmax(MODEL.apply(nested.keep_first(params, 4), images), axis=1)
    accuracy = [
        jnp.mean(jnp.argmax(MODEL.apply(nested.keep_first(params, k), images), 1) == labels) for k in range(1, 7)
    ]
    assert int(nested.choose_width(MODEL, params, images, labels)) == 1 + int(np.argmax(accuracy)) == 4


def test_mixup_is_linear_in_the_labels_and_leaves_filling_rows_out():
    seen, logits = batch(6, [1, 1, 1, 1, 0, 0]), normal(2, 6, 3)
    seen = seen._replace(images=seen.images.at[:, 4:].set(jnp.nan))
    mixing = jax.jit(lambda key: mixup.mix(key, seen, 1.0))
    for seed in range(5):
        mixed = mixing(jax.random.key(seed))
        assert np.isfinite(mixed.images[:, :4]).all()
    share, partner = jnp.float32(0.3), jnp.array([3, 2, 1, 0, 4, 5])
    mixed = mixup.blend(seen, share, partner)
    both = 0.3 * cross_entropy(logits, seen.targets) + 0.7 * cross_entropy(logits, seen.targets[partner])
    np.testing.assert_allclose(cross_entropy(logits, mixed.targets), both, rtol=1e-5)
    for x, y in zip(mixup.blend(seen, jnp.float32(1), partner), seen, strict=True):
        np.testing.assert_array_equal(
            x[..., :4, :, :, :] if x.ndim == 5 else x, y[..., :4, :, :, :] if y.ndim == 5 else y
        )


def test_pseudo_labels():
    p = jax.nn.softmax(normal(3, 7, 3))
    np.testing.assert_allclose(sharpened(p, 1.0), p, rtol=1e-6)
    np.testing.assert_allclose(sharpened(p, 2.0).sum(axis=1), 1, rtol=1e-6)
    losses = jnp.concatenate([jnp.full(30, 9.0), jnp.linspace(0, 0.1, 10), jnp.linspace(2, 2.1, 10)])
    flagged = jnp.arange(50) >= 30
    weigh = jax.jit(pls.pseudo_weights, static_argnums=2)
    weights = weigh(losses, flagged, 3)
    np.testing.assert_array_equal(weights[:30], 1)
    assert weights[30:40].min() > 0.9 and weights[40:].max() < 0.1
    np.testing.assert_array_equal(weigh(losses, jnp.arange(50) >= 46, 3), 1)  # too few for a mixture


def test_pls_without_flags_is_cross_entropy_and_a_spread():
    rule, seen, logits = pls.pls(alpha=0.0, warmup=0.0), batch(), normal(2, 1, 1, 6, 3)
    tables = {"targets": seen.targets, "weights": jnp.ones(6)}
    found = rule.loss(Outputs(logits, None), rule.prepare(jax.random.key(0), seen, tables), tables, {})
    np.testing.assert_allclose(found.values[0], cross_entropy(logits[0, 0], seen.targets))
    mean = jax.nn.softmax(logits[0, 0]).mean(axis=0)
    np.testing.assert_allclose(found.extra, (np.log(1 / 3) - np.log(mean)).mean(), rtol=1e-5)


def test_separator_is_a_balanced_logistic_regression():
    x = np.asarray(normal(4, 90, 4) + (jnp.arange(90) < 20)[:, None] * jnp.array([[1.0, 0.5, 0, 0]]) + 1)
    wrong, trusted = np.arange(90) < 20, np.arange(90) >= 40
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    unit = (unit - unit.mean(axis=0)) / unit.std(axis=0)
    known = wrong | trusted
    referee = LogisticRegression(C=1e4 / known.sum() * 2, class_weight="balanced").fit(unit[known], wrong[known])
    fitted = jax.jit(separate)
    found = fitted(jnp.asarray(x), jnp.asarray(trusted), jnp.asarray(wrong))
    np.testing.assert_allclose(found, referee.predict_proba(unit)[:, 1], atol=5e-3)
    assert not fitted(jnp.asarray(x), jnp.asarray(trusted), jnp.zeros(90, bool)).any()


def test_echo_keeps_a_share_of_each_class():
    assert echo.kept_share(0.2) == pytest.approx(0.72) and echo.kept_share(0.5) == pytest.approx(0.4)
    labels = jnp.array([0] * 7 + [1] * 11 + [2] * 2)
    values = normal(5, 20)
    lowest = jax.jit(echo.lowest_of_class, static_argnums=(2, 3))
    kept = lowest(values, labels, 3, 0.72)
    np.testing.assert_array_equal(jnp.zeros(3, int).at[labels].add(kept), [5, 7, 1])
    np.testing.assert_array_equal(lowest(jnp.exp(3 * values) - 2, labels, 3, 0.72), kept)
    for k in range(3):
        inside = np.asarray(values)[labels == k]
        assert set(np.asarray(values)[kept & (labels == k)]) == set(np.sort(inside)[: int(0.72 * len(inside) + 1e-6)])
    with pytest.raises(ValueError, match="until must be a finite number above 0"):
        echo.echo_select(until=0)  # it would select nothing


@pytest.mark.slow
def test_prototype_scores_follow_a_permutation_of_classes():
    directions, prototypes, bias, order = normal(9, 5, 4), normal(10, 3, 4), normal(11, 3), jnp.array([2, 0, 1])
    scores = cpc.class_scores(directions, prototypes, bias)
    np.testing.assert_allclose(
        cpc.class_scores(directions, prototypes[order], bias[order]), scores[:, order], rtol=1e-5
    )
    labels, clean = jnp.array([0, 1, 2, 0, 1]), jnp.array([1.0, 0.5, 0.0, 0.2, 0.9])
    place = jnp.argsort(order)
    np.testing.assert_allclose(
        cpc.prototype_loss(scores[:, order], place[labels], clean), cpc.prototype_loss(scores, labels, clean), rtol=1e-5
    )
    logits, targets = normal(12, 2, 5, 3), jax.nn.one_hot(labels, 3)
    np.testing.assert_allclose(
        cpc.cleaned_loss(logits, targets, jnp.ones(5)), cross_entropy(logits[0], targets), rtol=1e-6
    )


@pytest.mark.parametrize("one, two", [((0.3, 0.5), (1.1, 0.2)), ((0.3, 0.5), (0.9, 0.5)), ((2.0, 1.0), (2.0, 3.0))])
def test_overlap_and_divergence(one, two):
    with jax.enable_x64(True):
        expected = statistics.NormalDist(*one).overlap(statistics.NormalDist(*two))
        numbers = [jnp.float64(x) for x in (*one, *two)]
        assert float(dynamics.overlap(*numbers)) == pytest.approx(expected, abs=1e-7)
        x = np.linspace(-15, 15, 200001)
        p, q = ((np.exp(-((x - m) ** 2) / 2 / s**2) / s / np.sqrt(2 * np.pi)) for m, s in (one, two))
        integral = np.sum(p[p > 0] * np.log(p[p > 0] / np.maximum(q[p > 0], 1e-300))) * (x[1] - x[0])
        assert float(dynamics.divergence(*numbers)) == pytest.approx(integral, rel=1e-4)


@pytest.mark.slow
def test_dynamics_of_a_confident_network_are_finite():
    # three passes that differ by a rounding in one row alone: measured by that, it is as far as can be from its group
    losses = jnp.full((3, 8), 200.0).at[:, 0].set(jnp.array([1.0, 1.0, 1.0 + 2**-23]))
    logits = jnp.stack([-losses - jnp.log1p(-jnp.exp(-losses)), jnp.zeros_like(losses)], axis=2)
    read = dynamics.features(logits, jnp.zeros(8, jnp.int32), jnp.ones(8))
    weights = storm.rescale(storm.rescaler(jax.random.key(1)), read, jnp.ones(8))
    assert jnp.isfinite(read).all() and jnp.isfinite(weights).all()


def test_weights_of_one_visit_count_in_full():
    """The average of a label's weights has no initial value, so a short run can flag labels."""
    rule, rows, logits = storm.storm(), batch(present=[1, 1, 1, 1, 1, 0]), normal(15, 1, 3, 6, 3)

    @jax.jit
    def once(extra):
        tables = rule.start(jax.random.key(0), Given(rows.labels, 3, 6), None)
        tables = rule.loss(Outputs(logits, None), rows, tables, extra).tables
        learned = storm.rescale(extra, dynamics.features(logits[0], rows.labels, rows.present), rows.present)
        return learned, rule.export(tables, Stats(logits[:, 0], None, None, rows.labels))

    learned, findings = once(storm.rescaler(jax.random.key(0)))
    np.testing.assert_allclose(findings.weight[:5], learned[:5], rtol=1e-6)
    assert findings.weight[5] == 1  # padding is not a visit
    assert findings.flagged.any() and (findings.flagged == (findings.weight < 0.5)).all()


@pytest.mark.slow
def test_dynamics_of_groups():
    logits, labels = normal(13, 3, 6, 2), jnp.array([0, 0, 0, 1, 1, 1])
    features = jax.jit(dynamics.features)
    read = features(logits, labels, jnp.ones(6))
    assert read.shape == (6, dynamics.COUNT)
    losses = -jax.nn.log_softmax(logits)[:, jnp.arange(6), labels]
    np.testing.assert_allclose(read[:, 0], losses.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(read[:, 1], losses.std(axis=0, ddof=1), rtol=1e-4)
    agree = (jnp.argmax(logits, axis=2) == labels[None]).sum(axis=0) >= 2
    np.testing.assert_array_equal(read[:, -1], agree)
    for row in range(6):
        group = (labels == labels[row]) & (agree == agree[row])
        np.testing.assert_allclose(read[row, 4], read[group, 0].mean(), rtol=1e-5)
    # filling rows are of no group
    filled = features(jnp.concatenate([logits, 9 * logits[:, :2]], 1), jnp.append(labels, jnp.array([0, 0])),
                               jnp.array([1.0] * 6 + [0.0] * 2))  # fmt: skip
    np.testing.assert_allclose(filled[:6], read, rtol=2e-4, atol=1e-6)


def test_rescaler_compares_within_a_batch():
    extra, read, rescale = storm.rescaler(jax.random.key(0)), normal(14, 8, 19), jax.jit(storm.rescale)
    weights = rescale(extra, read, jnp.ones(8))
    assert ((weights > 0) & (weights < 1)).all() and weights.std() > 0.01
    np.testing.assert_allclose(rescale(extra, jnp.tile(read[:1], (8, 1)), jnp.ones(8)), 0.5, atol=1e-3)


def test_pls_correction_reads_views_only_for_doubted_labels():
    labels = jnp.arange(60) % 3
    logits = 6 * jax.nn.one_hot(labels, 3) + 0.3 * normal(15, 60, 3)
    given = labels.at[:15].add(1) % 3
    stats = Stats(logits[None], None, jnp.stack([logits, logits])[:, None], given)
    tables = jax.jit(lambda stats: pls.corrected(stats, jnp.int32(0), 0.5, 2.0, False))(stats)
    np.testing.assert_array_equal(tables["flagged"], jnp.arange(60) < 15)
    np.testing.assert_array_equal(jnp.argmax(tables["targets"], axis=1), labels)
    np.testing.assert_array_equal(tables["targets"][15:], jax.nn.one_hot(given[15:], 3))
    np.testing.assert_allclose(tables["targets"].sum(axis=1), 1, rtol=1e-5)
