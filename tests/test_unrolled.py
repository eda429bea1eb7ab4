"""Hypergradients of unrolled descent: all exact forms agree, and TESLA is the recursion with a frozen adjoint."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax.bilevel import unrolled_descent as unrolled

STEPS, M, B, D, K = 5, 6, 4, 3, 2


@pytest.fixture(scope="module", autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def network(theta, images):
    return jnp.tanh(images @ theta["in"]) @ theta["out"]


def loss(theta, piece):
    images, logits = piece
    return -jnp.mean(jnp.sum(jax.nn.softmax(logits) * jax.nn.log_softmax(network(theta, images)), axis=1))


def affine_loss(theta, piece):
    images, logits = piece
    return jnp.mean(jnp.sum(jnp.tanh(logits) * (jnp.sin(images) @ theta["in"] @ jnp.ones((4, K))), axis=1))


def student(pieces=1, loss=loss):
    def batch(learned, item):
        rows, factor = item
        gathered = learned[0][rows] * factor, learned[1][rows]
        return jax.tree.map(lambda x: x.reshape(pieces, B // pieces, *x.shape[1:]), gathered)

    return unrolled.Student(batch, loss)


@functools.cache
def problem():
    rng = np.random.default_rng(0)
    theta = {"in": jnp.asarray(rng.standard_normal((D, 4))), "out": jnp.asarray(rng.standard_normal((4, K)))}
    target = jax.tree.map(lambda x: x + 0.3, theta)
    learned = jnp.asarray(rng.standard_normal((M, D))), jnp.asarray(rng.standard_normal((M, K)))
    rows = jnp.asarray(np.stack([rng.permutation(M - 1)[:B] for _ in range(STEPS)]))  # the last row is never drawn
    return theta, target, learned, jnp.float64(0.2), (rows, jnp.asarray(rng.uniform(0.5, 2, STEPS)))


def distance(end):
    _, target, *_ = problem()
    return sum(jnp.sum((a - b) ** 2) for a, b in zip(jax.tree.leaves(end), jax.tree.leaves(target), strict=True)) / 7


@functools.cache
def found(name, pieces=1, steps=STEPS, rate=0.2, affine=False, remat="nothing"):
    theta, _, learned, _, items = problem()
    items = jax.tree.map(lambda x: x[:steps], items)
    form = unrolled.HYPERGRADIENTS[name](remat)
    inner = student(pieces, affine_loss if affine else loss)
    return jax.jit(lambda *a: form(inner, distance, *a))(theta, learned, jnp.float64(rate), items)


def by_hand(learned, rate):
    theta, _, _, _, items = problem()
    for t in range(STEPS):
        piece = jax.tree.map(lambda x: x[0], student().batch(learned, jax.tree.map(lambda x, t=t: x[t], items)))
        theta = jax.tree.map(lambda p, g: p - rate * g, theta, jax.grad(loss)(theta, piece))
    return distance(theta)


@functools.cache
def python_loop():
    _, _, learned, rate, _ = problem()
    return jax.jit(jax.value_and_grad(by_hand, (0, 1)))(learned, rate)


def same(a, b, rtol=1e-10):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-13), a, b)


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("name", ["exact", "adjoint"])
def test_exact_forms_are_the_python_loop(name, pieces):
    value, gradients = python_loop()
    same((found(name, pieces).value, (found(name, pieces).learned, found(name, pieces).rate)), (value, gradients))


@pytest.mark.parametrize("remat", ["dots", "everything"])
def test_rematerialisation_changes_no_number(remat):
    same(found("exact", remat=remat), found("exact"))


@pytest.mark.parametrize("which", ["pixel", "logit", "rate"])
def test_finite_differences(which):
    _, _, learned, rate, _ = problem()
    h, run = 1e-5, jax.jit(by_hand)

    def moved(by):
        images, logits = learned
        if which == "pixel":
            return run((images.at[1, 2].add(by), logits), rate)
        return run((images, logits.at[1, 0].add(by)), rate) if which == "logit" else run(learned, rate + by)

    slope = (moved(h) - moved(-h)) / (2 * h)
    got = found("exact")
    entry = {"pixel": got.learned[0][1, 2], "logit": got.learned[1][1, 0], "rate": got.rate}[which]
    np.testing.assert_allclose(slope, entry, rtol=1e-6)


@pytest.mark.slow
def test_tesla_is_the_literal_formula():
    # v = (2 / D)(rate (target - start) + rate^2 sum g), pulled through each g_t at weights held constant
    theta, target, learned, rate, items = problem()
    gradients, thetas, at = [], [], theta
    for t in range(STEPS):
        piece = jax.tree.map(lambda x: x[0], student().batch(learned, jax.tree.map(lambda x, t=t: x[t], items)))
        gradients.append(jax.grad(loss)(at, piece))
        thetas.append(at)
        at = jax.tree.map(lambda p, g: p - rate * g, at, gradients[-1])
    total = jax.tree.map(lambda *g: sum(g), *gradients)
    v = jax.tree.map(lambda s, e, g: 2 / 7 * (rate * (e - s) + rate**2 * g), theta, target, total)

    def pulled(learned, t):
        piece = jax.tree.map(lambda x: x[0], student().batch(learned, jax.tree.map(lambda x: x[t], items)))
        g = jax.grad(loss)(thetas[t], piece)
        return sum(jnp.sum(a * b) for a, b in zip(jax.tree.leaves(v), jax.tree.leaves(g), strict=True))

    parts = [jax.grad(pulled)(learned, t) for t in range(STEPS)]
    want = jax.tree.map(lambda *g: sum(g), *parts)
    same(found("tesla").learned, want)
    same(found("tesla_replay").learned, want)
    last = jax.grad(distance)(at)
    slope = -sum(jnp.sum(a * b) for a, b in zip(jax.tree.leaves(last), jax.tree.leaves(total), strict=True))
    same(found("tesla").rate, slope)


@pytest.mark.parametrize("pieces", [1, 2])
def test_replaying_equals_storing(pieces):
    same(found("tesla_replay", pieces), found("tesla"))


def test_teslas_loss_is_exact_and_its_gradient_is_not():
    same((found("tesla").value, found("tesla").end), (found("exact").value, found("exact").end))
    assert not np.allclose(found("tesla").learned[0], found("exact").learned[0], rtol=1e-3)


@pytest.mark.parametrize("case", [{"steps": 1}, {"affine": True}])
def test_tesla_is_exact_for_one_step_and_without_curvature(case):
    same(found("tesla", **case), found("exact", **case))


def test_teslas_error_is_of_first_order_in_the_rate():
    def error(rate):
        estimate, truth = (np.ravel(found(name, rate=rate).learned[0]) for name in ("tesla", "exact"))
        return np.linalg.norm(estimate - truth) / np.linalg.norm(truth)

    np.testing.assert_allclose(error(0.002) / error(0.001), 2, rtol=0.03)


def test_unused_rows_and_label_shifts_have_no_gradient():
    images, logits = found("exact").learned
    np.testing.assert_array_equal(images[M - 1], 0)  # never drawn
    np.testing.assert_allclose(logits.sum(axis=1), 0, atol=1e-12)  # softmax does not see a common shift


def test_unknown_remat_is_refused():
    with pytest.raises(ValueError, match=r"remat 'dot'.*Did you mean 'dots'"):
        unrolled.exact("dot")
