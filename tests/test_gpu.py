"""What runs on an accelerator gives the CPU's numbers: `JAX_PLATFORMS=cuda,cpu pytest -n 0 -m gpu`.

`JAX_DISABLE_MOST_OPTIMIZATIONS=false pytest -n 0 -m gpu` runs the same checks on the CPU: numbers of programs that XLA
optimises against numbers of programs that it does not. The long test test_optimised.py does that.
"""

import contextlib
import functools
import os

import faults_child
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ddjax import trees
from ddjax.backend import target
from ddjax.distillers import datm
from ddjax.distillers.datm import memory
from ddjax.execution.distill import distill
from ddjax.execution.fleet import init_members
from ddjax.kernels import gram, ridge_predict
from ddjax.models.convolution.conv import conv2d
from ddjax.precision import policy
from experiments.benchmarks import datm as datm_benchmark

pytestmark = pytest.mark.gpu
UNOPTIMISED = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "true"  # as conftest.py has it
STEPS, SHAPE = 2, (32, 32, 3)
CHOSEN = ("random", "herding", "kcenter")  # these choose images, and move none
# a method's tests share its experts and programs, so one worker runs them
GROUPED = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in faults_child.CONFIGS]
LEARNED = [case for case in GROUPED if case.values[0] not in CHOSEN]


@pytest.fixture(scope="module")
def device():
    if jax.default_backend() == "cpu" and UNOPTIMISED:
        pytest.skip("no accelerator, or it is hidden: set JAX_PLATFORMS=cuda,cpu (or tpu,cpu)")
    return jax.devices()[0]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    """Experts and pools are trained once, by the first test that asks for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDJAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _exact():
    with policy("float32"):
        yield


def cpu():
    return jax.devices("cpu")[0]


@contextlib.contextmanager
def on(device, optimised):
    """New programs are compiled for the device, with XLA's optimisations or without."""
    jax.config.update("jax_disable_most_optimizations", not optimised)
    try:
        with jax.default_device(device):
            yield
    finally:
        jax.config.update("jax_disable_most_optimizations", UNOPTIMISED)


@functools.cache
def problem(name):
    with on(cpu(), optimised=False):
        return faults_child.made_ready(name)


def state_on(device, name, seed):
    with on(cpu(), optimised=False):
        return jax.device_put(problem(name).state(seed), device)


def step(name, device, optimised):
    """The state after one step, and the metrics; the program is compiled anew."""
    case = problem(name)
    with on(cpu(), optimised=False):
        batch = jax.device_put(case.batch(0), device)
    with on(device, optimised):
        return jax.jit(lambda state, batch: case.distiller.step(state, batch))(state_on(device, name, 0), batch)


@functools.cache
def separate(name, number):
    """The distiller with a step of its own, so that each number compiles its programs anew."""
    distiller = problem(name).distiller
    return distiller._replace(step=lambda state, batch: distiller.step(state, batch))


@functools.cache
def whole_run(name, device, seed=0, number=0):
    """The last state of the loop, and the log."""
    case = problem(name)
    state, data = state_on(device, name, seed), jax.device_put(case.feed.data, device)
    with on(device, optimised=True):
        last, log = distill(separate(name, number), case.feed._replace(data=data), state, steps=STEPS, chunk=STEPS)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state)), "the state was copied, not donated"
    assert all(leaf.devices() == {device} for leaf in jax.tree.leaves(last))
    return last, log


def images(name, state):
    return np.asarray(problem(name).distiller.extract(state).images)


def assert_close(name, found, wanted, seed=0):
    """Images within a hundredth of how far they moved: one pixel near a zero of its gradient may differ by more."""
    (found, log), (wanted, its_log) = found, wanted
    with on(cpu(), optimised=False):
        before = images(name, problem(name).state(seed))
    moved = np.linalg.norm(images(name, wanted) - before)
    assert np.linalg.norm(images(name, found) - images(name, wanted)) <= 1e-2 * moved
    assert moved > 1e-3
    for metric, values in its_log.items():
        np.testing.assert_allclose(log[metric], values, rtol=2e-3, atol=1e-5, err_msg=metric)


@pytest.mark.parametrize("name", GROUPED)
def test_steps_give_the_numbers_of_the_cpu(device, name):
    found, wanted = step(name, device, optimised=True), step(name, cpu(), optimised=False)
    if name in CHOSEN:
        np.testing.assert_array_equal(images(name, found[0]), images(name, wanted[0]))
    else:
        assert_close(name, found, wanted)


@pytest.mark.parametrize("name", LEARNED)
def test_two_runs_agree_bit_for_bit(device, name):
    runs = [whole_run(name, device, number=number) for number in (0, 1)]
    one, two = (jax.tree.map(np.asarray, (trees.raw(last), log)) for last, log in runs)
    jax.tree.map(np.testing.assert_array_equal, one, two)


@pytest.mark.parametrize("name", LEARNED)
def test_a_fleet_of_two_is_its_members(device, name):
    case = problem(name)
    start, data = jax.device_put((case.start, case.feed.data), device)
    feed = case.feed._replace(data=data)
    with on(device, optimised=True):
        keys = [jax.random.key(seed) for seed in (0, 1)]
        members = init_members(case.distiller, keys, [start, start])
        (one, two) = distill(case.distiller, [feed, feed], members, steps=STEPS)
        states, logs = zip(one, two, strict=True)
    for seed in (0, 1):
        assert_close(name, (states[seed], logs[seed]), whole_run(name, device, seed), seed)


def native(x, kernel, strides):
    return lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def derivatives(function):
    """Value, gradient and derivative of the gradient, as one program."""

    def evaluate(*point):
        def gradient(*point):
            return jax.grad(lambda *p: jnp.sum(jnp.sin(function(*p))), tuple(range(len(point))))(*point)

        return function(*point), jax.jvp(gradient, point, point)

    return jax.jit(evaluate)


def agree(function, exact, point, device, tolerance):
    """`function` in float32 on the device against `exact` in double precision on the CPU, relative to the largest."""
    with on(device, optimised=True):
        found = derivatives(function)(*jax.device_put(point, device))
    with jax.enable_x64(True), on(cpu(), optimised=False):
        wanted = derivatives(exact)(*(jnp.asarray(np.asarray(x, np.float64)) for x in point))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert a.devices() == {device} and a.dtype == jnp.float32
        assert np.abs(np.asarray(a, np.float64) - np.asarray(b)).max() <= tolerance * np.abs(b).max()


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


CONVOLUTIONS = {
    "3x3": ((4, 8, 8, 8), (3, 3, 8, 6), (1, 1)),
    "wide": ((2, 6, 6, 41), (3, 3, 41, 40), (1, 1)),
    "strided": ((2, 9, 9, 3), (5, 5, 3, 6), (2, 2)),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_are_exact_to_single_precision(device, case):
    x, kernel, strides = CONVOLUTIONS[case]
    ours, exact = (functools.partial(conv, strides=strides) for conv in (conv2d, native))
    agree(ours, exact, (normal(0, *x), normal(1, *kernel) / np.float32(np.sqrt(np.prod(kernel[:3])))), device, 1e-5)


# a product of two factors, each rounded: 2 x 2^-bits, and twice that for a derivative of a gradient
ROUNDING = {"float32": 1e-5, "tensorfloat32": 4e-3, "bfloat16_3x": 1e-4, "bfloat16": 3e-2}


@pytest.mark.parametrize("name", ROUNDING)
def test_products_are_as_exact_as_their_policy(device, name):
    x, kernel, strides = CONVOLUTIONS["wide"]
    ours, exact = (functools.partial(conv, strides=strides) for conv in (conv2d, native))
    with policy(name):
        agree(ours, exact, (normal(0, *x), normal(1, *kernel) / np.float32(np.sqrt(9 * 41))), device, ROUNDING[name])


def test_the_memory_plan_of_datm_holds(device):
    if device.platform == "cpu":
        pytest.skip("test_datm_parts.py compares them on a CPU")
    config = datm.DatmConfig(ipc=10, width=64, inner_steps=10)
    model = datm.network(config, SHAPE, 10)
    learned, segments = datm_benchmark.problem(model, 100)
    with on(device, optimised=True):
        found = datm_benchmark.peak_of(config, model, learned, segments)
        shapes = memory.shapes_of(model, SHAPE, 100, 10, config.inner_steps, 100, 1, target())
    planned = memory.peak(shapes, memory.Way(config.hypergradient, config.remat, 1))
    assert found / 2 < planned < 3 * found, f"{found / 2**20:.0f} MiB, planned {planned / 2**20:.0f} MiB"


@pytest.mark.parametrize(("dtype", "ridge", "tolerance"), [("float32", 0.1, 1e-5), ("float64", 1e-4, 1e-3)])
def test_ridge_regression_is_as_exact_as_its_solve(device, dtype, ridge, tolerance):
    def ours(x, y, labels):
        return ridge_predict(gram(y, x), gram(x, x), labels, ridge, dtype)

    def exact(x, y, labels):
        return y @ x.T @ jnp.linalg.solve(x @ x.T + ridge * jnp.eye(len(x)), labels)

    agree(ours, exact, (normal(0, 6, 20), normal(1, 5, 20), normal(2, 6, 3)), device, tolerance)
