"""RCIG's inner problem: a convex quadratic with its head eliminated, and what its derivatives are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rcig_problem as tiny
from rcig_problem import RIDGE, K, M

from ddjax import bilevel
from ddjax.distillers import rcig
from ddjax.distillers.rcig import inner as rcig_inner
from ddjax.distillers.rcig import tangent as rcig_tangent
from ddjax.models import build


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        tiny.ready()
        yield


def alpha_of(problem, t):
    return np.linalg.solve(problem.factor.kernel + RIDGE * np.eye(M), problem.labels - problem.map.forward(t))


def test_the_loss_is_its_definition():
    problem, t = tiny.problem(), tiny.tangent(0)
    kernel, alpha = np.asarray(problem.factor.kernel), alpha_of(problem, t)
    left = np.asarray(problem.labels - problem.map.forward(t))
    error = left - kernel @ alpha
    square = np.sum(tiny.flat(t) ** 2)
    definition = (0.5 * np.sum(error**2) + 0.5 * RIDGE * (np.trace(alpha.T @ kernel @ alpha) + square)) / (M * K)
    value, _ = rcig_inner.loss_and_gradient(problem, t)
    assert abs(float(value - definition)) < 1e-14
    np.testing.assert_allclose(error, RIDGE * alpha, atol=1e-12)


def test_gradient_and_hessian_are_those_of_the_loss():
    problem, t, u = tiny.problem(), tiny.tangent(0), tiny.tangent(1)
    gradient = rcig_inner.loss_and_gradient(problem, t)[1]
    by_ad = jax.jit(jax.grad(lambda t: rcig_inner.loss_and_gradient(problem, t)[0]))(t)
    np.testing.assert_allclose(tiny.flat(gradient), tiny.flat(by_ad), atol=1e-14)
    j, _ = tiny.jacobians()
    closed = RIDGE / (M * K) * (tiny.flat(t) - j.T @ alpha_of(problem, t).ravel())
    np.testing.assert_allclose(tiny.flat(gradient), closed, atol=1e-14)

    further = rcig_inner.loss_and_gradient(problem, jax.tree.map(jnp.add, t, u))[1]
    product = rcig_inner.hessian(problem)(u)
    np.testing.assert_allclose(tiny.flat(product), tiny.flat(further) - tiny.flat(gradient), atol=1e-13)
    v = tiny.tangent(2)
    left, right = tiny.flat(v) @ tiny.flat(product), tiny.flat(u) @ tiny.flat(rcig_inner.hessian(problem)(v))
    np.testing.assert_allclose(left, right, rtol=1e-10)


def test_smallest_curvature_is_the_ridge():
    problem = tiny.problem()
    j, _ = tiny.jacobians()
    inverse = np.linalg.inv(problem.factor.kernel + RIDGE * np.eye(M))
    full = RIDGE / (M * K) * (np.eye(j.shape[1]) + j.T @ np.kron(inverse, np.eye(K)) @ j)
    u = tiny.tangent(4)
    np.testing.assert_allclose(tiny.flat(rcig_inner.hessian(problem)(u)), full @ tiny.flat(u), atol=1e-14)
    assert j.shape[1] > M * K
    np.testing.assert_allclose(np.linalg.eigvalsh(full)[0], RIDGE / (M * K), rtol=1e-9)


def test_the_exact_minimum_is_one_and_descent_goes_there():
    problem, best = tiny.problem(), tiny.exact_minimum()
    value, gradient = rcig_inner.loss_and_gradient(problem, best)
    assert np.abs(tiny.flat(gradient)).max() < 1e-14
    hessian, start = rcig_inner.hessian(problem), rcig_tangent.origin(tiny.frozen())
    first = rcig_inner.loss_and_gradient(problem, start)[1]
    by_cg = jax.jit(lambda b: bilevel.conjugate_gradient(150)(hessian, b).x)(jax.tree.map(jnp.negative, first))
    np.testing.assert_allclose(tiny.flat(by_cg), tiny.flat(best), atol=1e-8)

    descend = jax.jit(lambda rate: rcig_inner.descend(problem, start, rate, 300))
    curve, late = (np.asarray(descend(rate).curve) for rate in (1e-3, 3e-2))
    assert (np.diff(curve) < 0).all() and curve[-1] > float(value)
    assert float(late[-1] - value) < 1e-2 * float(late[0] - value)


def test_an_old_counter_with_no_moments_shortens_the_first_step():
    problem, start = tiny.problem(), rcig_tangent.origin(tiny.frozen())
    first = jax.jit(lambda age: rcig_inner.descend(problem, start, 1e-3, 1, age=age).point["bias"])
    for age, size in ((0, 1), (10, 0.48), (50, 0.71), (100, 0.98)):
        np.testing.assert_allclose(jnp.abs(first(jnp.int32(age))), size * 1e-3, rtol=0.025)


def test_predictions_at_the_minimum_are_those_of_the_total_kernel():
    problem, best = tiny.problem(), tiny.exact_minimum()
    j, j_b = tiny.jacobians()
    phi, phi_b = tiny.features()
    total = j @ j.T + np.kron(phi @ phi.T, np.eye(K))
    total_b = j_b @ j.T + np.kron(phi_b @ phi.T, np.eye(K))
    wanted = total_b @ np.linalg.solve(total + RIDGE * np.eye(M * K), np.ravel(problem.labels))
    found = (j_b @ tiny.flat(best)).reshape(-1, K) + phi_b @ phi.T @ alpha_of(problem, best)
    np.testing.assert_allclose(found.ravel(), wanted, atol=1e-12)


def test_tangent_outputs_are_directional_derivatives():
    frozen, t, images = tiny.frozen(), tiny.tangent(5), tiny.batch().images
    j_b, eps = tiny.jacobians()[1], 1e-4

    @jax.jit
    def moved(size):
        body = jax.tree.map(lambda w, d: w + size * d, frozen.body, t["body"])
        head = tiny.params()["head"]
        return tiny.model().apply({**body, "head": {**head, "bias": head["bias"] + size * t["bias"]}}, images)

    phi, out = rcig_tangent.outputs(frozen, images, t)
    np.testing.assert_allclose(out, (moved(eps) - moved(-eps)) / (2 * eps), atol=1e-5)
    np.testing.assert_allclose(out.ravel(), j_b @ tiny.flat(t), atol=1e-12)
    zero = rcig_tangent.outputs(frozen, images, rcig_tangent.origin(frozen))
    assert not np.any(np.asarray(zero[1]))
    np.testing.assert_array_equal(zero[0], phi)
    both = rcig_tangent.outputs(frozen, images, tiny.tangent(6), t)
    np.testing.assert_allclose(both[2], out, atol=1e-13)


def test_no_gradient_reaches_the_frozen_weights():
    def value(params):
        frozen = rcig_tangent.freeze(tiny.model(), params)
        phi, out = rcig_tangent.outputs(frozen, tiny.support().images, tiny.tangent(5))
        return jnp.sum(phi) + jnp.sum(out)

    assert not tiny.flat(jax.jit(jax.grad(value))(tiny.params())).any()


@pytest.mark.parametrize("with_kernel", [False, True])
def test_maps_in_blocks_and_of_some_rows_are_the_same_map(with_kernel):
    frozen, images = tiny.frozen(), tiny.support().images
    t, r = tiny.tangent(0), jnp.asarray(np.random.default_rng(2).standard_normal((M, K)))
    if with_kernel:
        t["kernel"] = 0.1 * jnp.cos(jnp.arange(float(frozen.kernel.size))).reshape(frozen.kernel.shape)
    whole = rcig_tangent.linearise(frozen, images, with_kernel=with_kernel)
    parts = rcig_tangent.linearise(frozen, images, block=3, with_kernel=with_kernel)
    np.testing.assert_allclose(whole.features, parts.features, atol=1e-12)
    np.testing.assert_allclose(whole.forward(t), parts.forward(t), atol=1e-12)
    back = tiny.flat(whole.transpose(r))
    np.testing.assert_allclose(back, tiny.flat(parts.transpose(r)), atol=1e-12)
    np.testing.assert_allclose(jnp.sum(whole.forward(t) * r), back @ tiny.flat(t), rtol=1e-10)
    rows = jnp.array([5, 1])
    for some in (whole, parts):
        np.testing.assert_allclose(some.forward(t, rows), whole.forward(t)[rows], atol=1e-12)
    masked = jnp.zeros_like(r).at[rows].set(r[rows])
    np.testing.assert_allclose(
        tiny.flat(whole.transpose(r[rows], rows)), tiny.flat(whole.transpose(masked)), atol=1e-12
    )


@pytest.mark.slow
def test_all_rows_as_a_subset_change_nothing_and_few_leave_the_value():
    problem, t = tiny.problem(), tiny.tangent(0)
    value, gradient = rcig_inner.loss_and_gradient(problem, t)
    order = jnp.array([3, 1, 0, 2, 7, 6, 5, 4])
    again, same = rcig_inner.loss_and_gradient(problem, t, order)
    np.testing.assert_allclose(tiny.flat(same), tiny.flat(gradient), atol=1e-13)
    few_value, few = rcig_inner.loss_and_gradient(problem, t, order[:3])
    assert float(few_value) == float(again) == float(value) and not np.allclose(tiny.flat(few), tiny.flat(gradient))
    hessian = rcig_inner.hessian(problem)
    np.testing.assert_allclose(tiny.flat(rcig_inner.sampled(hessian, order)(t)), tiny.flat(hessian(t)), atol=1e-13)
    rows, j = order[:3], tiny.jacobians()[0].reshape(M, K, -1)
    part = j[rows].reshape(-1, j.shape[2])
    block = np.linalg.inv(problem.factor.kernel + RIDGE * np.eye(M))[rows][:, rows]
    wanted = float(problem.scale) * (tiny.flat(t) + part.T @ (np.kron(block, np.eye(K)) @ (part @ tiny.flat(t))))
    np.testing.assert_allclose(tiny.flat(rcig_inner.sampled(hessian, rows)(t)), wanted, atol=1e-13)


def test_drawn_rows_are_a_part_of_all():
    rows = rcig_inner.draw_rows(jax.random.key(0), M, 3)
    drawn = {tuple(sorted(np.asarray(rows(jnp.int32(step))).tolist())) for step in range(6)}
    assert len(drawn) > 1 and all(len(set(r)) == 3 and set(r) <= set(range(M)) for r in drawn)
    assert (
        rcig_inner.draw_rows(jax.random.key(0), M, 0) is None and rcig_inner.draw_rows(jax.random.key(0), M, M) is None
    )


def test_the_head_kernel_is_no_variable_unless_asked_for():
    start = rcig_tangent.origin(tiny.frozen())
    assert set(start) == {"body", "bias"}
    config = tiny.with_config(quirk_head_kernel=True, l2_rate=0.05 / M)
    problem = tiny.problem(config=config)
    start = rcig_tangent.origin(tiny.frozen(), with_kernel=True)
    found = jax.jit(lambda: rcig_inner.descend(problem, start, 1e-3, 1).point)()
    phi = problem.map.features
    raw = RIDGE / (M * K) * (-phi.T @ alpha_of(problem, start))  # dL/dt_W at zero, which a mask adds as it is
    np.testing.assert_allclose(found["kernel"], raw, atol=1e-13)
    assert float(jnp.abs(found["bias"]).max()) <= 1e-3 * (1 + 1e-9)


def test_a_network_without_a_head_is_refused():
    mute = build("convnet_rcig", (8, 8, 3), 3, width=3, depth=1)
    broken = {("last" if name == "head" else name): value for name, value in mute.init(jax.random.key(0)).items()}
    with pytest.raises(ValueError, match="head"):
        rcig_tangent.freeze(mute, broken)


@pytest.mark.parametrize("beta", [0.0, 60.0])
def test_networks_of_the_published_shapes(beta):
    config = rcig.RcigConfig(softplus_beta=beta)
    for shape, wanted in [((32, 32, 3), 8192), ((28, 28, 1), 8192), ((64, 64, 3), 16384), ((128, 128, 3), 32768)]:
        network = rcig.network(config, shape, 10)
        params = jax.eval_shape(network.init, jax.random.key(0))
        images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
        assert jax.eval_shape(network.features, params, images).shape == (2, wanted)
