"""Implicit and unrolled derivatives on ridge regression, whose answers are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import bilevel

N, D, K, RIDGE = 7, 5, 2, 0.3
pytestmark = pytest.mark.usefixtures("double")


def data():
    rng = np.random.default_rng(0)
    return {"x": jnp.asarray(rng.standard_normal((N, D))), "y": jnp.asarray(rng.standard_normal((N, K)))}


def objective(w, psi):
    return 0.5 * jnp.sum((psi["x"] @ w - psi["y"]) ** 2) + 0.5 * RIDGE * jnp.sum(w**2)


def solution(psi):
    x, y = psi["x"], psi["y"]
    return jnp.linalg.solve(x.T @ x + RIDGE * jnp.eye(D), x.T @ y)


def exactly(psi):
    return bilevel.Descent(solution(psi), jnp.zeros(0))


def by_descent(psi):
    step = 1 / (jnp.linalg.norm(psi["x"], 2) ** 2 + RIDGE)

    def body(w, _):
        return w - step * jax.grad(objective)(w, psi), None

    return bilevel.Descent(jax.lax.scan(body, jnp.zeros((D, K)), length=600)[0], jnp.zeros(0))


def outer(w):
    return jnp.sum(jnp.sin(w) * jnp.arange(1.0, 1 + w.size).reshape(w.shape))


SOLVES = {
    "cg": bilevel.conjugate_gradient(D * K),
    "adam": bilevel.adam(3e-3, 6000),
}


@pytest.mark.parametrize("name", SOLVES)
def test_implicit_derivative_of_ridge(name):
    def implicit(psi):
        minimum = bilevel.implicit(bilevel.of_objective(objective, exactly), SOLVES[name])(psi)
        return minimum.pull(jax.grad(outer)(minimum.point)).gradient

    psi = data()
    found, wanted = jax.jit(lambda psi: (implicit(psi), jax.grad(lambda psi: outer(solution(psi)))(psi)))(psi)
    for leaf in psi:
        np.testing.assert_allclose(found[leaf], wanted[leaf], atol=1e-3 if name == "adam" else 1e-10)


def test_unrolled_derivative_is_the_implicit_one_at_convergence():
    psi, inner = data(), bilevel.of_objective(objective, by_descent)
    adjoints = [bilevel.unrolled(inner), bilevel.implicit(inner, bilevel.conjugate_gradient(20))]
    gradients = []
    for adjoint in adjoints:
        minimum = jax.jit(lambda psi, adjoint=adjoint: adjoint(psi)[:2])(psi)
        np.testing.assert_allclose(minimum[0], solution(psi), atol=1e-9)
        pulled = jax.jit(lambda psi, adjoint=adjoint: adjoint(psi).pull(jax.grad(outer)(adjoint(psi).point)).gradient)
        gradients.append(pulled(psi))
    for leaf in psi:
        np.testing.assert_allclose(*(g[leaf] for g in gradients), atol=1e-7)


def gram_hessian(n=4, k=3, p=11):
    rng = np.random.default_rng(1)
    j, a = jnp.asarray(rng.standard_normal((n * k, p))), rng.standard_normal((n, n))
    matrix = jnp.asarray(a @ a.T + 0.1 * np.eye(n))
    hessian = bilevel.IdentityPlusGram(
        scale=jnp.float64(0.02),
        forward=lambda t: (j @ t["t"]).reshape(n, k),
        transpose=lambda r: {"t": j.T @ r.ravel()},
        solve=lambda r: jnp.linalg.solve(matrix, r),
        matrix=matrix,
        classes=k,
    )
    full = 0.02 * (j.T @ jnp.kron(jnp.linalg.inv(matrix), jnp.eye(k)) @ j + jnp.eye(p))
    return hessian, full, {"t": jnp.asarray(rng.standard_normal(p))}


def test_woodbury_and_conjugate_gradient_solve():
    hessian, full, b = gram_hessian()
    wanted = jnp.linalg.solve(full, b["t"])
    np.testing.assert_allclose(hessian(b)["t"], full @ b["t"], rtol=1e-12)
    for solve in (bilevel.woodbury(), bilevel.conjugate_gradient(30)):
        np.testing.assert_allclose(jax.jit(lambda b, solve=solve: solve(hessian, b).x)(b)["t"], wanted, rtol=1e-8)


def test_woodbury_says_what_it_needs():
    with pytest.raises(TypeError, match="conjugate_gradient"):
        bilevel.woodbury()(lambda x: x, {"t": jnp.ones(3)})


def test_curves_are_twice_the_quadratic_before_each_step():
    hessian, full, b = gram_hessian()

    def value(x):
        return x @ (full @ x - 2 * b["t"])

    for make in (lambda steps: bilevel.adam(1e-2, steps), lambda steps: bilevel.conjugate_gradient(steps)):
        curve = make(4)(hessian, b).curve
        assert curve[0] == 0
        for step in (1, 3):
            np.testing.assert_allclose(curve[step], value(make(step)(hessian, b).x["t"]), rtol=1e-9)
    exact = value(jnp.linalg.solve(full, b["t"]))
    np.testing.assert_allclose(exact, -b["t"] @ jnp.linalg.solve(full, b["t"]))
    np.testing.assert_allclose(bilevel.conjugate_gradient(14)(hessian, b).curve[-1], exact)


def test_conjugate_gradient_stays_where_it_is_once_exact():
    b = {"t": jnp.arange(1.0, 4.0)}
    once, often = (bilevel.conjugate_gradient(s)(lambda v: jax.tree.map(lambda a: 2 * a, v), b).x for s in (1, 9))
    np.testing.assert_array_equal(once["t"], often["t"])


def test_a_fresh_adam_step_has_the_size_of_the_rate():
    gradient = jnp.array([1e-9, -3e-8, 2.0])
    out = bilevel.descend(lambda t, i: (jnp.sum(t), gradient), jnp.zeros(3), 1, bilevel.adam_at(0.01))
    np.testing.assert_allclose(jnp.abs(out.point), 0.01 * jnp.abs(gradient) / (jnp.abs(gradient) + 1e-8), rtol=1e-6)


def test_a_descent_keeps_the_dtype_of_its_start():
    out = bilevel.descend(lambda t, i: (jnp.sum(t), t.astype(float)), jnp.ones(2, jnp.float32), 2, bilevel.adam_at(0.1))
    assert out.point.dtype == jnp.float32


def test_adam_is_differentiable_where_a_gradient_is_zero():
    """The last entry has no gradient, as a weight behind a dead unit; the one before has a vanishing one."""
    weights = jnp.array([1.0, 0.5, 1e-170, 0.0])

    def end(psi):
        descent = bilevel.descend(lambda t, i: (jnp.sum(t), weights * (t - psi)), jnp.zeros(4), 3, bilevel.adam_at(0.1))
        return jnp.sum(descent.point**2)

    psi = jnp.array([1e-8, 2e-8, 1.0, 1.0])
    slope = jax.jit(jax.grad(end))(psi)
    difference = (end(psi.at[0].add(1e-12)) - end(psi.at[0].add(-1e-12))) / 2e-12
    np.testing.assert_allclose(slope[0], difference, rtol=1e-3)
    np.testing.assert_array_equal(slope[2:], 0)
