"""Named precisions: float32 unless asked otherwise, and the rounding of an accelerator where it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mesh_problem import CONFIGS

from ddjax import testing
from ddjax.distillers import DISTILLERS
from ddjax.kernels import gram, ridge_predict
from ddjax.models.convolution.conv import conv2d
from ddjax.precision import asked
from experiments.running.config import Experiment


def gap(precision):
    x = jax.random.normal(jax.random.key(0), (4, 8, 8, 16))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 16, 8))

    def both(x, kernel):
        return conv2d(x, kernel), jax.grad(lambda k: jnp.sum(jnp.sin(conv2d(x, k))))(kernel)

    exact = jax.jit(both)(x, kernel)
    with jax.default_matmul_precision(precision):
        rounded = jax.jit(both)(x, kernel)
    return [np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in zip(exact, rounded, strict=True)]


@pytest.mark.parametrize(("precision", "unit"), [("tensorfloat32", 2.0**-11), ("bfloat16", 2.0**-8)])
def test_factors_are_rounded_as_on_an_accelerator(precision, unit):
    for error in gap(precision):
        assert 0.1 * unit < error < 10 * unit


def test_float32_is_the_default():
    assert gap("float32") == [0, 0]


def products(program):
    """(primitive, precision) of every product of floats in a program, programs inside it included."""
    for equation in getattr(program, "jaxpr", program).eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            if jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.floating):
                yield equation.primitive.name, equation.params["precision"]
            continue
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda value: hasattr(value, "eqns")):
            if hasattr(inner, "eqns"):
                yield from products(inner)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("datm", "dance")]  # they train networks first


@pytest.mark.parametrize("name", ["rcig", "frepo", "kip", *SLOW])
def test_no_product_of_a_step_is_left_to_the_backend(monkeypatch, name):
    others = {"frepo": {"ipc": 1, "width": 2, "depth": 1, "batch": 8, "pool_size": 1}, "kip": {"kernel": "conjugate"}}
    method = DISTILLERS[name]
    case = testing.Case(method, method.config(**(CONFIGS | others)[name]))
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")  # where convolutions are XLA's own
    found = set(products(jax.make_jaxpr(case.distiller.step)(case.state(), case.batch(0))))
    assert {primitive for primitive, _ in found} == {"dot_general", "conv_general_dilated"}
    assert all(precision is not None for _, precision in found), found


def test_kernels_and_solves_do_not_take_less():
    x = jax.random.normal(jax.random.key(0), (6, 20))
    labels = jax.random.normal(jax.random.key(1), (6, 3))
    with jax.default_matmul_precision("bfloat16"):
        program = jax.make_jaxpr(lambda x: ridge_predict(gram(x, x), gram(x, x), labels, 0.1))(x)
    found = {precision for _, precision in products(program)}
    assert found == {(jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)}


def test_the_fastest_is_that_of_the_backend(monkeypatch):
    assert Experiment(precision="fastest").settled().precision == "float32"
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert Experiment(precision="fastest").settled().precision == "bfloat16" and asked() == "highest"
    assert Experiment().settled().precision == "float32"
