"""Losses of the robust rules against the published formulas' values, in float64 where digits are given."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax.robust.rule import write
from ddjax.robust.rules import distillation as distilling
from ddjax.robust.rules import elr, ill, losses, transition
from ddjax.robust.rules import small_loss as selection
from ddjax.training.losses import cross_entropy
from ddjax.training.rule import Batch, Given, Outputs

Z = np.array([[2.0, 0.0, -1.0]])
T = np.array([[0.8, 0.2, 0.0], [0.0, 0.7, 0.3], [0.1, 0.0, 0.9]])


def at_one(loss, *settings):
    return float(jax.jit(lambda z, y: loss(z, y, *settings))(jnp.asarray(Z), jnp.array([[0.0, 1.0, 0.0]]))[0])


GOLDEN = [
    (cross_entropy, (), 2.169846),
    (losses.smoothed_cross_entropy, (0.1,), 2.136513),
    (losses.generalised, (0.7,), 1.115780),
    (losses.generalised, (1.0,), 0.885805),
    (losses.reverse, (), 8.158564),
    (losses.symmetric, (0.1, 1.0), 8.375548),
    (losses.normalised, (), 0.393834),
]


@pytest.mark.parametrize("loss, settings, value", GOLDEN)
def test_golden(loss, settings, value, double):
    assert at_one(loss, *settings) == pytest.approx(value, abs=1e-6)


NEUTRAL = [
    (losses.smoothed_cross_entropy, (0.0,), 0),
    (losses.bootstrapped, (1.0, False), 0),
    (losses.bootstrapped, (1.0, True), 0),
    (losses.symmetric, (1.0, 0.0), 0),
    (losses.generalised, (1e-5,), 1e-4),
]


@pytest.mark.parametrize("loss, settings, off", NEUTRAL)
def test_neutral_setting_is_cross_entropy(loss, settings, off, double):
    assert abs(at_one(loss, *settings) - at_one(cross_entropy)) <= off


def test_smoothing_everything_forgets_the_label(double):
    assert at_one(losses.smoothed_cross_entropy, 1.0) == pytest.approx(-np.mean(jax.nn.log_softmax(Z)))


def test_bootstrap_trusts_its_own_prediction(double):
    p = np.asarray(jax.nn.softmax(Z))[0]
    assert at_one(losses.bootstrapped, 0.8, True) == pytest.approx(-0.8 * np.log(p[1]) - 0.2 * np.log(p[0]))
    assert at_one(losses.bootstrapped, 0.95, False) == pytest.approx(
        -0.95 * np.log(p[1]) - 0.05 * (p * np.log(p)).sum()
    )


def test_generalised_gradient_is_finite_where_the_label_is_impossible():
    gradient = jax.grad(lambda z: losses.generalised(z, jnp.array([[0.0, 1.0]]), 0.7)[0])(jnp.array([[200.0, 0.0]]))
    assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_forward_correction(double):
    z, label = jnp.asarray(Z), jnp.array([1])
    found, gradient = jax.value_and_grad(lambda z: transition.forward_loss(z, label, jnp.asarray(T))[0])(z)
    assert float(found) == pytest.approx(1.391526, abs=1e-6)
    np.testing.assert_allclose(gradient[0], [0.165218, -0.207228, 0.042010], atol=1e-6)
    assert transition.forward_loss(z, label, jnp.eye(3))[0] == cross_entropy(z, jnp.array([[0.0, 1, 0]]))[0]


def test_backward_correction_is_unbiased(double):
    every, z = jnp.arange(3), jnp.tile(jnp.asarray(Z), (3, 1))
    backward = transition.backward_loss(z, every, jnp.linalg.inv(jnp.asarray(T)))
    np.testing.assert_allclose(backward, [-0.183095, 1.581611, 3.542395], atol=1e-6)
    np.testing.assert_allclose(T @ backward, cross_entropy(z, jnp.eye(3)), rtol=1e-14)


def test_transition_from_anchors():
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6]])
    np.testing.assert_allclose(transition.estimate_transition(p), p[[0, 2]])
    np.testing.assert_allclose(transition.estimate_transition(p, 0.5), p[[1, 3]])
    with pytest.raises(ValueError, match="condition number"):
        transition.invertible(np.full((2, 2), 0.5))


def test_elr_three_visits(double):
    p = np.asarray(jax.nn.softmax(Z))
    memory, label = jnp.zeros((1, 3)), jnp.array([[0.0, 1, 0]])
    for visit, value in enumerate([1.431997, 0.780569, 0.222430], 1):
        memory = elr.update_memory(memory, jnp.asarray(Z), 0.7)
        np.testing.assert_allclose(memory, (1 - 0.7**visit) * p, rtol=1e-12)
        assert float(elr.elr_loss(jnp.asarray(Z), label, memory, 3.0)[0]) == pytest.approx(value, abs=1e-6)
    assert elr.elr_loss(jnp.asarray(Z), label, memory, 0.0)[0] == cross_entropy(jnp.asarray(Z), label)[0]


def test_elr_gradient_pulls_towards_the_memory(double):
    memory, z = jnp.array([[0.1, 0.6, 0.2]]), jnp.asarray(Z)

    def term(z):
        return (elr.elr_loss(z, jnp.eye(3)[:1], memory, 1.0) - cross_entropy(z, jnp.eye(3)[:1]))[0]

    p = np.asarray(jax.nn.softmax(Z))
    agreement = (p * memory).sum()
    np.testing.assert_allclose(jax.jit(jax.grad(term))(z), -p * (memory - agreement) / (1 - agreement), rtol=1e-9)
    assert not np.any(jax.jit(jax.grad(lambda m: elr.elr_loss(z, jnp.eye(3)[:1], m, 1.0)[0]))(memory))


@pytest.mark.parametrize("student, value", [((2.0, 0.0, -1.0), 0.478150), ((0.0, 0.0, 0.0), 0.104425)])
def test_distillation(student, value, double):
    z, teacher = jnp.array([student]), jnp.array([[1.0, 1.0, 0.0]])
    found, gradient = jax.value_and_grad(lambda z: distilling.teacher_divergence(z, teacher, 4.0)[0])(z)
    assert float(found) == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(gradient, 4 * (jax.nn.softmax(z / 4) - jax.nn.softmax(teacher / 4)), atol=1e-12)
    assert distilling.teacher_divergence(teacher, teacher, 4.0)[0] == 0
    hot = jax.grad(lambda z: distilling.teacher_divergence(z, teacher, 1e5)[0])(z)
    np.testing.assert_allclose(hot, (z - z.mean() - teacher + teacher.mean()) / 3, atol=1e-4)


def test_distillation_needs_logits_of_every_class():
    rule, given = distilling.distillation(), Given(jnp.arange(6) % 3, 3, 1)
    with pytest.raises(ValueError, match=r"needs data with \['logits'\] of each network; got None"):
        rule.start(jax.random.key(0), given, None)
    with pytest.raises(ValueError, match=r"needs logits \[6, 3\] of each network, .*; got \[6, 1\]"):
        rule.start(jax.random.key(0), given, {"logits": jnp.zeros((6, 1))})


@pytest.mark.parametrize("k, scale, value", [(10, 1.0, 0.231969), (100, 2.0, 0.069453), (100, 2.5, 0.109572)])
def test_imprecise_channel_starts_as_published(k, scale, value):
    assert float(jax.nn.softmax(ill.noise_logits(jnp.eye(k), scale), axis=1)[3, 3]) == pytest.approx(value, abs=1e-6)


def test_imprecise_channel_is_bounded(double):
    sharpest = jax.nn.softmax(ill.noise_logits(jax.random.normal(jax.random.key(0), (10, 10)) ** 5, 1.0), axis=1)
    assert float(sharpest.max()) <= 0.241746 + 1e-6


def test_imprecise_likelihood_is_the_exact_step(double):
    keys = jax.random.split(jax.random.key(1), 2)
    z, labels = 2 * jax.random.normal(keys[0], (5, 4)), jnp.array([0, 1, 2, 3, 1])
    weights = jnp.eye(4) + 0.3 * jax.random.normal(keys[1], (4, 4))

    @jax.jit
    def everything(z):
        channel = jax.nn.softmax(ill.noise_logits(weights, 1.0), axis=1)
        pulls = jax.grad(lambda weak, strong: ill.ill_loss(weak, strong, labels, weights, 1.0).sum(), (0, 1))
        forward = jax.grad(lambda z: transition.forward_loss(z, labels, channel).sum())(z)
        blind = ill.posterior(z, jnp.full((4, 4), 0.25), labels)
        p, q = jax.nn.softmax(z), jnp.exp(ill.posterior(z, channel, labels))
        return pulls(z, z), p - q, forward, jnp.exp(blind), p

    (weak, strong), expected, forward, blind, p = everything(z)
    np.testing.assert_allclose(weak, expected, atol=1e-12)
    np.testing.assert_allclose(strong, 0, atol=1e-12)  # the two consistencies do not pull views that agree
    np.testing.assert_allclose(forward, weak, atol=1e-12)
    np.testing.assert_allclose(blind, p, atol=1e-12)


def seen(b, epoch=0, present=None):
    present = jnp.ones(b) if present is None else jnp.asarray(present, jnp.float32)
    labels = jnp.arange(b) % 3
    return Batch(
        jnp.zeros((1, b, 1, 1, 1)),
        jax.nn.one_hot(labels, 3),
        labels,
        jnp.arange(b),
        present,
        jnp.ones(b),
        jnp.int32(epoch),
    )


def test_smallest_counts_only_those_present():
    kept = functools.partial(selection.smallest, jnp.array([0.5, 0.1, 0.9, 0.2, 0.0]))
    np.testing.assert_array_equal(kept(jnp.array([1.0, 1, 1, 1, 0]), 0.5), [0, 1, 0, 1, 0])
    np.testing.assert_array_equal(kept(jnp.ones(5), 0.6), [0, 1, 0, 1, 1])
    np.testing.assert_array_equal(kept(jnp.ones(5), 0.01), [0, 0, 0, 0, 1])
    for share in (0.7, 0.9, 0.3):
        assert selection.smallest(jnp.arange(10.0), jnp.ones(10), jnp.float32(share)).sum() == round(share * 10)


def test_forgetting_ramps_up():
    found = [float(selection.kept_share(jnp.int32(epoch), 0.4, 10.0)) for epoch in (0, 5, 10, 50)]
    np.testing.assert_allclose(found, [1, 0.8, 0.6, 0.6], rtol=1e-6)
    assert float(selection.kept_share(jnp.int32(0), 0.4, 0.0)) == pytest.approx(0.6)


@pytest.mark.slow
def test_coteaching_exchanges_choices():
    logits = jax.random.normal(jax.random.key(0), (2, 1, 8, 3))
    each = selection.coteaching(0.5, 0.0).loss(Outputs(logits, None), seen(8), {}, {})
    for net in range(2):
        order = np.argsort(np.asarray(each.values[net]))[:4]
        np.testing.assert_array_equal(np.flatnonzero(each.weights[1 - net]), np.sort(order))
    same = Outputs(jnp.tile(logits[:1], (2, 1, 1, 1)), None)
    pair = selection.coteaching(0.5, 0.0).loss(same, seen(8), {}, {})
    alone = selection.small_loss(0.5, 0.0).loss(Outputs(logits[:1], None), seen(8), {}, {})
    np.testing.assert_array_equal(pair.weights, jnp.tile(alone.weights, (2, 1)))
    assert (selection.coteaching(0.0).loss(same, seen(8, 99), {}, {}).weights == 1).all()


def test_filling_rows_write_nothing():
    table = write(
        jnp.zeros(6), seen(4, present=[1, 1, 0, 0])._replace(rows=jnp.array([5, 2, 0, 2])), jnp.arange(1.0, 5)
    )
    np.testing.assert_array_equal(table, [0, 0, 2, 0, 0, 1])
