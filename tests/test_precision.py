"""Named precisions: float32 unless asked otherwise, and the rounding of an accelerator where it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mesh_problem import CONFIGS

from ddjax import targeting, testing
from ddjax.denoising.diversion import recalled
from ddjax.distillers import DISTILLERS
from ddjax.kernels import gram, ridge_predict
from ddjax.kernels.infinite import convnet_kernel, mlp_kernel
from ddjax.models.convolution.conv import conv2d, product
from ddjax.models.specification import equations
from ddjax.precision import DEFAULTS, POLICIES, asked, policy
from experiments.running import rules, wrapping
from experiments.running.config import Experiment
from experiments.running.shared import Shared, make_ready

UNITS = {"tensorfloat32": 2.0**-11, "bfloat16_3x": 2.0**-17, "bfloat16": 2.0**-8}
X = jax.random.normal(jax.random.key(0), (4, 8, 8, 16))
KERNEL = jax.random.normal(jax.random.key(1), (3, 3, 16, 8))


def of_convolution(x, kernel):
    return conv2d(x, kernel), jax.grad(lambda k: jnp.sum(jnp.sin(conv2d(x, k))))(kernel)


def of_product(x, kernel):
    a, b = x.reshape(-1, 16), kernel[0, 0]
    return product(a, b), jax.grad(lambda a: jnp.sum(jnp.sin(product(a, b))))(a), product(a[0], b)


@pytest.mark.parametrize("function", [of_convolution, of_product])
def test_factors_are_rounded_as_on_an_accelerator(function):
    found = {}
    for name in POLICIES:
        with policy(name):
            found[name] = jax.jit(function)(X, KERNEL)
    for name, unit in UNITS.items():
        for exact, rounded in zip(found["float32"], found[name], strict=True):
            assert 0.1 * unit < np.linalg.norm(exact - rounded) / np.linalg.norm(exact) < 10 * unit
    for exact, default in zip(found["float32"], jax.jit(function)(X, KERNEL), strict=True):
        np.testing.assert_array_equal(exact, default)


def test_a_policy_is_that_of_the_platform_or_the_callers():
    for platform, name in DEFAULTS.items():
        with targeting(platform):
            assert asked() == name == Experiment().settled().precision
            with policy("bfloat16"):
                assert asked() == "bfloat16"
    assert Experiment(precision="bfloat16_3x").settled().precision == "bfloat16_3x"
    with pytest.raises(ValueError, match=r"unknown precision 'half'; known: float32, tensorfloat32, bfloat16_3x"):
        policy("half")


def products(program):
    """(primitive, precision) of every product of floats in a program, programs inside it included."""
    names = ("dot_general", "conv_general_dilated", "ddjax_convolution")
    for equation in equations(program):
        if equation.primitive.name in names and jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.floating):
            yield equation.primitive.name, equation.params["precision"]


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("rcig", "datm", "dance")]


@pytest.mark.parametrize("name", ["frepo", "kip", *SLOW])
def test_no_product_of_a_step_is_left_to_the_backend(name):
    others = {"frepo": {"ipc": 1, "width": 2, "depth": 1, "batch": 8, "pool_size": 1}, "kip": {"kernel": "conjugate"}}
    method = DISTILLERS[name]
    case = testing.Case(method, method.config(**(CONFIGS | others)[name]))
    with targeting("tpu"):
        found = set(products(jax.make_jaxpr(case.distiller.step)(case.state(), case.batch(0))))
    assert {primitive for primitive, _ in found} == {"dot_general", "ddjax_convolution"}
    assert all(precision is not None for _, precision in found), found


@pytest.mark.parametrize(("make", "shape"), [(convnet_kernel, (2, 4, 4, 1)), (mlp_kernel, (2, 3))])
def test_kernels_of_infinite_networks_do_not_take_less(make, shape):
    kernel = make("ntk", 1)
    with policy("bfloat16"), targeting("tpu"):
        program = jax.make_jaxpr(jax.grad(lambda x: kernel(x, x).sum()))(jnp.ones(shape))
    assert {precision for _, precision in products(program)} == {(jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)}


def by_ridge(x, scores):
    return ridge_predict(gram(x, x), gram(x, x), scores, 0.1)


def by_anchors(x, scores):
    return recalled(x, scores, jnp.arange(6) % 3, jnp.arange(6) < 4)


@pytest.mark.parametrize("function", [by_ridge, by_anchors])
def test_kernels_and_solves_do_not_take_less(function):
    with policy("bfloat16"):
        program = jax.make_jaxpr(function)(jnp.ones((6, 20)), jnp.ones((6, 3)))
    found = {precision for _, precision in products(program)}
    assert found == {(jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)}


@pytest.mark.parametrize(
    ("method", "part", "trained"),
    [("cleanlab", rules.held_out, "rules.held_out_probabilities"), ("tad_reconstructed+dm", wrapping.cleaned, None)],
)
def test_networks_of_another_precision_are_not_shared(monkeypatch, method, part, trained):
    shared, seen = Shared(), []
    if trained:
        monkeypatch.setattr(f"experiments.running.{trained}", lambda *_, **__: seen.append(asked()))
    else:
        asking = wrapping.cleaning.Wrapper(lambda *_: seen.append(asked()), lambda *_: None)
        monkeypatch.setitem(wrapping.cleaning.WRAPPERS, "tad_reconstructed", asking)
    for precision in ("float32", "bfloat16", "float32"):
        cell = Experiment(method=method, precision=precision, limit=100, width=4, depth=1).settled()
        with policy(precision):
            part(make_ready(cell, shared), shared)
    assert seen == ["float32", "bfloat16"]
