"""RCIG's outer gradient: closed forms, the implicit function theorem against finite differences, subsets, clipping."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rcig_problem as tiny
from rcig_problem import RIDGE, B, K, M
from scipy.special import softmax

from ddjax import bilevel
from ddjax.distillers.rcig import gradient as rcig_gradient
from ddjax.distillers.rcig import inner as rcig_inner
from ddjax.distillers.rcig import outer as rcig_outer
from ddjax.distillers.rcig.outer import Support
from ddjax.preprocess import centered


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        tiny.ready()
        yield


def pieces():
    """Kernels, A^-1 and the outer residual R_e at the exact minimum."""
    (j, j_b), (phi, phi_b), t = tiny.jacobians(), tiny.features(), tiny.flat(tiny.exact_minimum())
    inverse, k_b = np.linalg.inv(phi @ phi.T + RIDGE * np.eye(M)), phi_b @ phi.T
    left = np.asarray(tiny.support().labels) - (j @ t).reshape(M, K)
    z = (j_b @ t).reshape(B, K) + k_b @ inverse @ left
    scale = np.exp(float(tiny.support().log_temperature))
    targets = np.asarray(rcig_outer.one_of_centered(tiny.batch().targets))
    return inverse, k_b, z, scale / B * (softmax(scale * z, axis=1) - targets)


def test_gradients_have_their_closed_forms():
    scored, g, direct = tiny.outer_parts()
    inverse, k_b, z, residual = pieces()
    j, j_b = tiny.jacobians()
    wanted = j_b.T @ residual.ravel() - j.T @ (inverse @ k_b.T @ residual).ravel()
    np.testing.assert_allclose(tiny.flat(g), wanted, atol=1e-12)
    lead = jax.jit(jax.grad(lambda y: -rcig_outer.margin(y, 1 / (2 * K))))(tiny.support().labels)
    np.testing.assert_allclose(direct.labels, inverse @ k_b.T @ residual + lead, atol=1e-12)
    np.testing.assert_allclose(direct.log_temperature, np.sum(residual * z), atol=1e-12)
    share = np.mean(np.argmax(z, 1) == np.argmax(tiny.batch().targets, 1))
    assert float(scored.accuracy) == share
    predict = jax.jit(lambda k_b, z: rcig_outer.predict(k_b, tiny.problem().factor, jnp.ones((M, K)), z))
    np.testing.assert_allclose(predict(k_b, z) - z, k_b @ inverse @ np.ones((M, K)))


def test_inverse_hessian_solvers_agree():
    hessian, g = rcig_inner.hessian(tiny.problem()), tiny.outer_parts()[1]
    v = tiny.flat(tiny.exact_v())
    j, _ = tiny.jacobians()
    inverse = pieces()[0]
    full = RIDGE / (M * K) * (np.eye(j.shape[1]) + j.T @ np.kron(inverse, np.eye(K)) @ j)
    np.testing.assert_allclose(v, np.linalg.solve(full, tiny.flat(g)), rtol=1e-6, atol=1e-8)
    by_cg = jax.jit(lambda g: bilevel.conjugate_gradient(200)(hessian, g))(g)
    np.testing.assert_allclose(tiny.flat(by_cg.x), v, rtol=1e-6, atol=1e-6)
    best = -tiny.flat(g) @ v
    np.testing.assert_allclose(by_cg.curve[-1], best, rtol=1e-8)
    few, many = (jax.jit(lambda g, n=n: bilevel.adam(3e-2, n)(hessian, g))(g).curve for n in (50, 1500))
    assert float(few[0]) == float(many[0]) == 0 and float(few[-1]) > float(many[-1]) > float(best)
    assert float(many[-1]) < 0.9 * float(best)


def value_at_minimum(support):
    """The outer loss through the exact inner minimum, as one function of the support."""
    problem = rcig_gradient.the_problem(tiny.CONFIG, tiny.frozen(), support)
    t = tiny.exact(problem)
    return rcig_gradient.outer(tiny.CONFIG, tiny.frozen(), problem, tiny.batch(), (None, None), t, support).loss


@jax.jit
def value_along(size, direction):
    return value_at_minimum(jax.tree.map(lambda p, d: p + size * d, tiny.support(), direction))


def along(gradient, direction):
    return float(
        sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    )


@pytest.mark.parametrize("leaf", ["images", "labels"])
def test_direct_plus_implicit_is_the_total_derivative(leaf):
    support, direct, implicit = tiny.support(), tiny.outer_parts()[2], tiny.implicit_part()
    rng = np.random.default_rng(7)
    zero = jax.tree.map(jnp.zeros_like, support)
    direction = rcig_outer.Support(
        **{**vars(zero), leaf: jnp.asarray(rng.standard_normal(getattr(support, leaf).shape))}
    )
    step = 1e-5
    difference = float(value_along(step, direction) - value_along(-step, direction)) / (2 * step)
    total = along(direct, direction) + along(implicit, direction)
    assert abs(total - difference) <= 1e-6 * abs(difference), (total, difference)
    assert abs(along(implicit, direction)) > 1e-3 * abs(difference)


def test_the_cheap_coupling_is_the_plain_one():
    t, v, support = tiny.exact_minimum(), tiny.exact_v(), tiny.support()

    def plain(support):
        problem = rcig_gradient.the_problem(tiny.CONFIG, tiny.frozen(), support)
        gradient = rcig_inner.loss_and_gradient(problem, t)[1]
        return -sum(map(jnp.vdot, jax.tree.leaves(v), jax.tree.leaves(gradient)))

    wanted, found = jax.jit(jax.grad(plain))(support), tiny.implicit_part()
    np.testing.assert_allclose(found.images, wanted.images, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found.labels, wanted.labels, rtol=1e-8, atol=1e-12)
    j, _ = tiny.jacobians()
    closed = RIDGE / (M * K) * pieces()[0] @ (j @ tiny.flat(v)).reshape(M, K)
    np.testing.assert_allclose(found.labels, closed, atol=1e-12)
    assert float(found.log_temperature) == 0.0


@functools.cache
def compiled_gradient(config):
    def run(support):
        keys = rcig_gradient.Keys(*jax.random.split(jax.random.key(5), 8))
        return rcig_gradient.gradient(config, tiny.frozen(), support, tiny.batch(), (1e-3, 1e-3), keys, jnp.int32(0))

    return jax.jit(run)


def both_parts(config, support=None):
    return compiled_gradient(config)(tiny.support() if support is None else support)


@pytest.mark.slow
def test_unrolled_and_implicit_agree_on_the_labels_at_convergence():
    def inner(labels):
        support = Support(**{**vars(tiny.support()), "labels": labels})
        problem = tiny.problem(support)
        hessian = rcig_inner.hessian(problem)
        steps = 60

        def gradient(t, step):
            return rcig_inner.loss_and_gradient(problem, t)

        start = jax.tree.map(jnp.zeros_like, tiny.exact_minimum())
        first = jax.tree.map(jnp.negative, gradient(start, 0)[1])
        found = bilevel.conjugate_gradient(steps)(hessian, first)  # a minimiser whose every step is differentiable

        def couple(psi, v):
            moved = Support(**{**vars(support), "labels": psi})
            return rcig_gradient.coupling(tiny.CONFIG, tiny.frozen(), problem, None, found.x, moved, v)

        return bilevel.Inner(bilevel.Descent(found.x, found.curve), hessian, couple)

    g, labels = tiny.outer_parts()[1], tiny.support().labels
    unrolled = jax.jit(lambda y: bilevel.unrolled(inner)(y).pull(g).gradient)(labels)
    np.testing.assert_allclose(unrolled, tiny.implicit_part().labels, rtol=1e-5, atol=1e-9)


@pytest.mark.slow
def test_the_unrolled_gradient_is_the_derivative_of_the_steps_taken():
    config = tiny.with_config(hypergradient="unrolled", inner_steps=3)
    support = tiny.support()
    found = both_parts(config)
    rng = np.random.default_rng(9)
    direction = jax.tree.map(lambda p: jnp.asarray(rng.standard_normal(p.shape)), support)

    @jax.jit
    def value(size):
        moved = jax.tree.map(lambda p, d: p + size * d, support, direction)
        problem = rcig_gradient.the_problem(config, tiny.frozen(), moved)
        t = rcig_gradient.minimise(config, tiny.frozen(), problem, 1e-3, jax.random.key(0), jnp.int32(0)).point
        return rcig_gradient.outer(config, tiny.frozen(), problem, tiny.batch(), (None, None), t, moved).loss

    difference = float(value(1e-6) - value(-1e-6)) / 2e-6
    np.testing.assert_allclose(along(found.direct, direction) + along(found.indirect, direction), difference, rtol=1e-5)


@pytest.mark.slow
def test_all_rows_as_subsets_are_the_full_gradient():
    rows = jnp.arange(M)[::-1], jnp.arange(B)[::-1]
    t = tiny.exact_minimum()

    def outer(t, s, rows):
        return rcig_gradient.outer(tiny.CONFIG, tiny.frozen(), tiny.problem(), tiny.batch(), rows, t, s).loss

    full = jax.jit(jax.grad(lambda t, s: outer(t, s, (None, None)), argnums=(0, 1)))(t, tiny.support())
    same = jax.jit(jax.grad(lambda t, s: outer(t, s, rows), argnums=(0, 1)))(t, tiny.support())
    np.testing.assert_allclose(tiny.flat(same), tiny.flat(full), atol=1e-12)

    def couple(s, rows):
        return rcig_gradient.coupling(tiny.CONFIG, tiny.frozen(), tiny.problem(), rows, t, s, tiny.exact_v())

    part = jax.jit(jax.grad(lambda s: couple(s, rows[0])))(tiny.support())
    np.testing.assert_allclose(tiny.flat(part), -tiny.flat(tiny.implicit_part()), atol=1e-12)


@pytest.mark.slow
def test_values_are_of_all_rows_and_gradients_of_some():
    whole = both_parts(tiny.CONFIG)
    rows = {"direct_support": 3, "direct_batch": 5, "implicit_rows": 3, "hinv_rows": 3}
    few = both_parts(tiny.with_config(**rows, forward_block=5, repeats=2, learn_labels=False))
    np.testing.assert_allclose(few.scored.loss, whole.scored.loss, rtol=1e-10)
    np.testing.assert_allclose(few.inner_curve, whole.inner_curve, rtol=1e-10)
    moved = np.any(np.asarray(few.direct.images) != 0, axis=(1, 2, 3))
    assert 3 <= moved.sum() <= 6
    assert not np.any(few.direct.labels) and not np.any(few.indirect.labels)  # they were not to be learned


@pytest.mark.slow
def test_flips_and_order_do_not_matter():
    config = tiny.with_config(flip=True)
    support = tiny.support()
    flipped = Support(**{**vars(support), "images": support.images[:, :, ::-1]})
    order = np.array([3, 2, 1, 0, 7, 6, 5, 4])
    permuted = Support(**{**vars(support), "images": support.images[order], "labels": support.labels[order]})
    plain, *others = [both_parts(config, s) for s in (support, flipped, permuted)]
    assert plain.direct.images.shape == support.images.shape
    for other in others:
        np.testing.assert_allclose(other.scored.loss, plain.scored.loss, rtol=1e-10)
        np.testing.assert_allclose(other.inner_curve, plain.inner_curve, rtol=1e-10)
    np.testing.assert_allclose(others[0].direct.images[:, :, ::-1], plain.direct.images, atol=1e-10)


def test_clipping_bounds_each_leaf_and_keeps_nan():
    direct = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([1.0]), "c": jnp.array([2.0]), "d": jnp.zeros(2)}
    indirect = {"a": jnp.array([0.0, 10.0]), "b": jnp.array([0.5]), "c": jnp.zeros(1), "d": jnp.array([1.0, 1.0])}
    found = rcig_outer.clip_to(direct, indirect)
    np.testing.assert_allclose(found["a"], [0, 5])
    np.testing.assert_array_equal(found["b"], [0.5])
    assert not np.any(found["c"]) and not np.any(found["d"])
    broken = {**indirect, "a": jnp.array([jnp.nan, 1.0])}
    assert np.all(np.isnan(rcig_outer.clip_to(direct, broken)["a"]))


def test_the_margin_counts_up_to_its_cap():
    labels = jnp.array([[0.9, 0.1, 0.0], [0.30, 0.25, 0.0]])
    cap = 1 / 6
    value, gradient = jax.value_and_grad(rcig_outer.margin)(labels, cap)
    np.testing.assert_allclose(value, (cap + 0.05) / 2)
    np.testing.assert_allclose(gradient, [[0, 0, 0], [0.5, -0.5, 0]])


@pytest.mark.parametrize("num_classes", [2, 10, 200])
def test_centred_targets_come_back_as_ones(num_classes):
    labels = jnp.arange(num_classes)
    ones = rcig_outer.one_of_centered(centered(labels, num_classes))
    np.testing.assert_allclose(ones, np.eye(num_classes), atol=1e-6)
