"""The platform of a trace is a value, and each platform computes convolutions in its own way."""

import functools
import os
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from test_conv import CASES, arguments

from ddjax import targeting
from ddjax.augment import OPS
from ddjax.backend import compiler_options, target
from ddjax.models.convolution import cpu, xla
from ddjax.models.convolution.conv import conv2d
from ddjax.models.convolution.padding import output_size
from ddjax.precision import policy
from ddjax.training import over_members

PADDINGS = {"SAME": ((1, 1), (1, 1)), "VALID": ((0, 0), (0, 0))}
UNSTRIDED = [case for case, (_, kernel, strides, padding) in CASES.items()
             if strides == (1, 1) and (padding != "SAME" or kernel[:2] == (3, 3))]  # fmt: skip
QUICK = ("3x3", "many images", "colours", "to colours", "5x5", "uneven padding")  # each takes another way on a CPU


def lowered(platform, *arrays):
    return export.export(jax.jit(conv2d), platforms=[platform])(*arrays).mlir_module()


def test_a_function_is_traced_once_for_each_platform():
    traced = []

    @jax.jit
    def inner(x):
        traced.append(target())
        return x * len(target())

    outer = jax.jit(lambda x: jax.lax.scan(lambda carry, _: (inner(carry), None), x, None, length=2)[0])
    for platform in ("tpu", "gpu", "tpu", "cpu"):
        with targeting(platform):
            assert int(outer(1)) == 9
    assert target() == "cpu" and int(outer(1)) == 9
    assert sorted(set(traced)) == ["cpu", "gpu", "tpu"] and len(traced) <= 2 * 4


def test_the_default_device_decides():
    with targeting("tpu"), jax.default_device(jax.devices("cpu")[0]):
        assert target() == "tpu"
    for device in (jax.devices("cpu")[0], "cpu"):
        with jax.default_device(device):
            assert target() == "cpu"
    with pytest.raises(ValueError, match=r"unknown platform 'cuda'; known: cpu, gpu, tpu"):
        targeting("cuda")


def test_members_run_side_by_side_on_accelerators():
    def loops():
        return str(jax.make_jaxpr(over_members(lambda x: x * x))(jnp.ones(3))).count("scan")

    assert loops() == 1
    with targeting("gpu"):
        assert loops() == 0


@pytest.mark.parametrize("platform", ["cuda", "tpu", "cpu"])
def test_each_platform_has_its_own_convolution(platform):
    x, kernel, *_ = arguments("3x3")
    count = lowered(platform, x, kernel).count("stablehlo.convolution")
    wide = lowered(platform, jnp.ones((2, 8, 8, 48)), jnp.ones((3, 3, 48, 48))).count("stablehlo.convolution")
    assert (count, wide) == ((1, 0) if platform == "cpu" else (1, 1))  # a CPU filters wide maps by products


@pytest.mark.parametrize(
    "case", [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in UNSTRIDED]
)
def test_both_ways_agree(case):
    x, kernel, _, padding = arguments(case)
    padding = PADDINGS.get(padding, padding)
    size = output_size(x.shape, kernel.shape, padding)
    g = jnp.asarray(np.random.default_rng(2).normal(size=(x.shape[0], *size, kernel.shape[3])), jnp.float32)
    stack = [jnp.stack([array, scale * array]) for scale, array in ((2, x), (-1, kernel), (3, g))]

    def every(module, *cases, **more):
        more |= {"padding": padding, "precision": "float32"}
        for x, kernel, g in cases:
            yield module.convolve(x, kernel, **more)
            yield module.kernel_gradient(x, g, **more)

    cases = (x, kernel, g), stack, (x, *stack[1:])
    found = jax.jit(lambda *cases: list(every(xla, *cases, platform="gpu")))(*cases)
    for a, b in zip(found, jax.jit(lambda *cases: list(every(cpu, *cases)))(*cases), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


def test_stacks_of_stacks_agree_on_accelerators():
    x, kernel, *_ = arguments("3x3")
    xs, kernels = jnp.stack([x, -x]), jnp.stack([kernel, 2 * kernel, 3 * kernel])

    def every(x, kernels):
        def gradient(k):
            return jax.grad(lambda k: jnp.sum(jnp.sin(conv2d(x, k))))(k)

        return jax.vmap(gradient)(kernels), jax.vmap(conv2d, (None, 0))(x, kernels)

    programs = {}
    for platform in ("cpu", "gpu"):
        with targeting(platform), policy("float32"):
            programs[platform] = jax.jit(jax.vmap(every, (0, None)))(xs, kernels)
            loops = str(jax.make_jaxpr(jax.vmap(every, (0, None)))(xs, kernels)).count("scan")
            assert (loops == 0) == (platform == "gpu")
    for a, b in zip(programs["cpu"], programs["gpu"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


def test_a_program_that_runs_once_is_compiled_with_less_effort():
    optimised = not jax.config.read("jax_disable_most_optimizations")
    assert compiler_options(2) == () and bool(compiler_options(1)) == optimised
    key, draw = jax.random.key(0), functools.partial(jax.random.normal, shape=(3,))
    options = {"xla_backend_optimization_level": 1}
    assert not optimised or dict(compiler_options(1)) == options
    np.testing.assert_array_equal(jax.jit(draw, compiler_options=options)(jax.random.clone(key)), jax.jit(draw)(key))


def test_short_programs_are_compiled_with_less_effort_for_a_tpu():
    with targeting("tpu"):
        assert compiler_options(10_000) == ()
        options = dict(compiler_options(1))
        if not hasattr(jax.config, "jax_exec_time_optimization_effort"):  # JAX 0.12
            assert options == {}
            return
        program = jax.jit(lambda x: x + 1, compiler_options=options).lower(jax.ShapeDtypeStruct((), jnp.int32))
        few, more = (compiler_options(steps)[0][1] for steps in (299, 4_999))
        assert options["exec_time_optimization_effort"] == few < more < 0
        assert int(program.compile()(1)) == 2  # JAX knows the name


def test_both_ways_of_sampling_agree():
    images, turned, g = (jax.random.normal(key, (3, 6, 5, 2)) for key in jax.random.split(jax.random.key(0), 3))
    drawn = OPS["rotate"].draw(jax.random.key(1), 3, (6, 5)) * 4

    def both(images):
        return jax.vjp(lambda x: OPS["rotate"].apply(drawn, x), images + turned)[1](g), OPS["rotate"].apply(
            drawn, images
        )

    wanted = jax.jit(both)(images)
    with targeting("gpu"), policy("float32"):
        chex.assert_trees_all_close(jax.jit(both)(images), wanted, atol=1e-5)


CHILD = """
import jax, jax.numpy as jnp
jnp.ones(3).sum()  # before the cache is known
from ddjax.models import build
from ddjax.training import Examples, Recipe, fit
examples, key = Examples(jnp.ones((4, 2, 2, 1)), jnp.eye(2)[jnp.array([0, 1, 0, 1])]), jax.random.key(0)
fit(build("mlp", (2, 2, 1), 2, depth=1, width=4), Recipe(epochs=1, batch=2, rate=0.1), examples, key[None])
"""


@pytest.mark.slow
@pytest.mark.parametrize("enabled", ["true", "false"])
def test_loops_keep_compiled_programs(tmp_path, enabled):
    wanted = {
        "DDJAX_CACHE": str(tmp_path),
        "JAX_ENABLE_COMPILATION_CACHE": enabled,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    free = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    subprocess.run([sys.executable, "-c", CHILD], check=True, env=free | wanted)
    assert any((tmp_path / "compiled").glob("jit_*")) == (enabled == "true")
