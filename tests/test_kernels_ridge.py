"""Gram matrices, blocks and ridge regression."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ddjax.kernels import blocked, factor, gram, matmul_highest, relative, ridge_predict, solve, tangent
from ddjax.models.specification import equations


def rows(n, d=6, seed=0):
    return jax.random.normal(jax.random.key(seed), (n, d))


def kernel_of(n=6, d=8, seed=0):
    return gram(rows(n, d, seed), rows(n, d, seed))


def rbf(x, y):
    return jnp.exp(-jnp.sum((x[:, None] - y[None]) ** 2, axis=2))


def test_products_ask_for_full_precision():
    jaxpr = str(jax.make_jaxpr(gram)(rows(3), rows(2)))
    assert jaxpr.count("Precision.HIGHEST") == 2  # one for each operand
    assert jnp.allclose(gram(rows(3), rows(2, seed=1)), np.asarray(rows(3)) @ np.asarray(rows(2, seed=1)).T, atol=1e-5)
    assert jnp.array_equal(matmul_highest(rows(3), rows(2).T), gram(rows(3), rows(2)))


REST = [pytest.param(*case, marks=pytest.mark.slow) for case in [(6, 3), (1, 1)]]


@pytest.mark.parametrize(("n", "block"), [(7, 3), (5, 9), (7, 1), *REST])
def test_blocks_make_the_whole(n, block):
    seen = []

    def kernel(x, y):
        seen.append(len(x))
        return rbf(x, y)

    x, y = rows(n), rows(5, seed=1)
    whole, grads = jax.value_and_grad(lambda x, y: jnp.sum(jnp.sin(rbf(x, y))), (0, 1))(x, y)
    f = jax.value_and_grad(lambda x, y: jnp.sum(jnp.sin(blocked(kernel, x, y, block))), (0, 1))
    value, parts = jax.jit(f)(x, y)
    assert jnp.allclose(value, whole, rtol=1e-6)
    assert all(jnp.allclose(a, b, atol=1e-6) for a, b in zip(grads, parts, strict=True))
    assert max(seen) <= block


def test_blocks_bound_the_memory_of_values_and_gradients():
    x, y, w = rows(256, 8), rows(64, 8, seed=1), rows(8, 32)

    def pairwise(x, y):  # 32 floats for each pair, and twice that for the gradient
        return jnp.sum(jnp.tanh(matmul_highest((x[:, None] - y[None]).reshape(-1, 8), w)), 1).reshape(len(x), -1)

    def largest(kernel):
        program = jax.make_jaxpr(jax.grad(lambda x: jnp.sum(kernel(x, y))))(x)
        return max(out.aval.size for equation in equations(program) for out in equation.outvars)

    assert largest(pairwise) == 256 * 64 * 32
    assert largest(lambda x, y: blocked(pairwise, x, y, 8)) == 8 * 64 * 32
    assert largest(lambda x, y: blocked(pairwise, x, y, 1)) == 256 * 64  # the Gram matrix itself


def test_blocks_of_nothing_are_refused():
    with pytest.raises(ValueError, match="block=0"):
        blocked(rbf, rows(2), rows(2), 0)


@pytest.mark.parametrize("dtype", [None, jnp.float64])
@pytest.mark.parametrize("shape", [(6,), (6, 3)])
def test_solve_solves(shape, dtype):
    k, b = kernel_of(), jnp.cos(jnp.arange(np.prod(shape), dtype=jnp.float32)).reshape(shape)
    x = jax.jit(lambda k, b: solve(factor(k, 0.1, dtype), b))(k, b)
    exact = np.linalg.solve(np.asarray(k, np.float64) + 0.1 * np.eye(6), np.asarray(b, np.float64))
    assert x.dtype == jnp.float32 and np.allclose(x, exact, rtol=1e-4, atol=1e-5)


def test_derivatives_of_first_and_second_order():
    with jax.enable_x64(True):
        x, b = jnp.asarray(rows(5, 3), jnp.float64), jnp.asarray(rows(5, 2, 1), jnp.float64)

        def f(x, ridge, b):
            x, ridge, b = map(jnp.asarray, (x, ridge, b))
            return solve(factor(gram(x, x), ridge), b)

        check_grads(jax.jit(f), (x, jnp.float64(0.7), b), order=2, modes=["fwd", "rev"], rtol=1e-6, atol=1e-6)


def test_labels_may_be_of_half_precision():
    def squares(k_mm, labels):
        return (solve(factor(k_mm, 1.0), labels) ** 2).sum()

    slopes = jax.eval_shape(jax.grad(squares, (0, 1)), jnp.eye(2), jnp.ones((2, 1), jnp.bfloat16))
    assert [slope.dtype for slope in slopes] == [jnp.float32, jnp.bfloat16]


def test_double_precision_inside_a_single_precision_program():
    """At a ridge of 1e-6 of the mean diagonal single precision loses all digits of the labels' coefficients."""
    x = jnp.linspace(0, 1, 40)[:, None]
    k = jnp.exp(-((x - x.T) ** 2))
    b = jnp.sin(3 * x)
    ridge = float(relative(k, 1e-6))
    exact = np.linalg.solve(np.asarray(k, np.float64) + np.float64(np.float32(ridge)) * np.eye(40), np.float64(b))
    error = {d: np.abs(solve(factor(k, ridge, d), b) - exact).max() / np.abs(exact).max() for d in (None, jnp.float64)}
    assert error[jnp.float64] < 1e-6
    assert not error[None] < 1e-4  # NaN where the factorisation fails


def test_double_precision_under_transformations():
    x, b = rows(5, 8), rows(5, 2, 1)

    def descend(x, dtype):
        ready = factor(gram(x, x), 0.1, dtype)

        def body(carry, _):
            ready, b = carry
            return (ready, b - 0.1 * jax.grad(lambda b: jnp.vdot(b, solve(ready, b)))(b)), None

        return jnp.sum(jax.lax.scan(jax.checkpoint(body), (ready, b), None, length=3)[0][1])

    batch = jnp.stack([x, 2 * x])
    single, double = (jax.jit(jax.vmap(jax.grad(lambda x, d=d: descend(x, d))))(batch) for d in (None, jnp.float64))
    assert double.dtype == jnp.float32 and jnp.allclose(single, double, rtol=1e-3, atol=1e-4)
    ready = jax.jit(lambda x: factor(gram(x, x), 0.1, jnp.float64))(x)
    assert ready.lower.dtype == jnp.float64 and jax.jit(lambda r: r.lower)(ready).dtype == jnp.float64


def test_ridge_regression_is_gaussian_process_inference():
    k_mm, k_nm, y = kernel_of(6), gram(rows(4, 8, 1), rows(6, 8)), rows(6, 3, 2)
    nt = tangent.load()
    for ridge, absolute in [(0.3, True), (0.01, False)]:
        oracle = nt.predict.gp_inference(k_mm, y, diag_reg=ridge, diag_reg_absolute_scale=absolute)("nngp", k_nm, None)
        ours = ridge_predict(k_nm, k_mm, y, ridge if absolute else relative(k_mm, ridge))
        assert jnp.allclose(ours, oracle, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_ridge_regression_is_training_to_the_end(kind):
    nt = tangent.load()
    _, _, kernel = nt.stax.serial(nt.stax.Dense(1), nt.stax.Relu(), nt.stax.Dense(1))
    kernel = jax.jit(kernel, static_argnames="get")
    x, y, new = rows(6, 8), rows(6, 3, 2), rows(4, 8, 1)
    oracle = nt.predict.gradient_descent_mse_ensemble(kernel, x, y, diag_reg=1e-3)(x_test=new, get=kind)
    k_mm = kernel(x, x, kind)
    assert jnp.allclose(
        ridge_predict(kernel(new, x, kind), k_mm, y, relative(k_mm, 1e-3)), oracle, rtol=1e-3, atol=1e-4
    )
