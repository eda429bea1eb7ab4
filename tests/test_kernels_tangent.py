"""neural-tangents on the installed JAX: it imports, works, and leaves no trace."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from ddjax.kernels import finite, tangent
from ddjax.models import build

SCRIPT = """
import concurrent.futures, sys
import ddjax, ddjax.kernels.finite, ddjax.kernels.infinite, jax, jax.core, jax.random, jax.interpreters.ad
from ddjax.kernels import tangent

# without a name that neural-tangents needs
lent = dict(tangent.MOVED)
for key, says in [(("jax.core", "Jaxpr"), "Jaxpr"), (("jax.interpreters.ad", "zeros_like_p"), "zeros_like_p")]:
    del tangent.MOVED[key]
    try:
        tangent.load()
    except ImportError as error:
        text = str(error)
    assert says in text and jax.__version__ in text and "0.6" in text and "MOVED" in text, text
    assert not any(name.startswith("neural_tangents") for name in sys.modules), "partly imported, or imported before"
    assert not hasattr(jax.core, "Var"), "a lent name was left behind"
    tangent.MOVED.update(lent)
public = jax.extend.core.Var
del jax.extend.core.Var  # what is lent is missing itself
try:
    tangent.load()
except ImportError as error:
    text = str(error)
assert "'Var'" in text, text
jax.extend.core.Var = public

# with all names
places = {name: dict(vars(sys.modules[name])) for name in ("jax.core", "jax.interpreters.ad", "jax.random")}
had_util = sys.modules.get("jax.util")
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    modules = list(pool.map(lambda _: tangent.load(), range(8)))
assert len({id(module) for module in modules}) == 1 and modules[0].__version__.startswith("0.6")
assert "tensorflow" not in sys.modules and "jax.experimental.jax2tf" not in sys.modules
for name, before in places.items():
    assert dict(vars(sys.modules[name])) == before, name
assert sys.modules.get("jax.util") is had_util
assert "neural_tangents.experimental" not in sys.modules and not hasattr(modules[0], "experimental")
"""


def test_loading_leaves_no_trace_and_names_what_is_missing():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_absent_package_says_how_to_get_it(monkeypatch):
    from importlib import metadata

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert "pip install" in tangent._explained(ModuleNotFoundError("neural_tangents"))


def images(n, seed=0, side=8):
    return jax.random.normal(jax.random.key(seed), (n, side, side, 3))


@pytest.fixture(scope="module")
def mlp():
    keys = jax.random.split(jax.random.key(5), 2)
    params = {"a": jax.random.normal(keys[0], (192, 5)) / 14, "b": jax.random.normal(keys[1], (5, 3))}
    return lambda p, x: jnp.tanh(x.reshape(len(x), -1) @ p["a"]) @ p["b"], params


@pytest.fixture(scope="module")
def convnet():
    model = build("convnet", (8, 8, 3), 3, depth=2, width=4, norm="none")
    model = model._replace(apply=jax.jit(model.apply), features=jax.jit(model.features))
    return model, model.init(jax.random.key(2))


def jacobian_kernel(apply, params, x, y):
    def flat(images):
        rows = jax.jacobian(apply)(params, images)
        return jnp.concatenate([leaf.reshape(len(images), 3, -1) for leaf in jax.tree.leaves(rows)], axis=2)

    return jnp.einsum("ncp,mdp->nmcd", flat(x), flat(y))


def test_the_kernel_of_every_pair_of_outputs(mlp):
    apply, params = mlp
    x, y = images(4), images(3, 1)
    expected = jax.jit(lambda p: jacobian_kernel(apply, p, x, y))(params)
    kernel = jax.jit(lambda p: finite.ntk(apply, p, x, y, average=False))(params)
    assert jnp.allclose(kernel, expected, rtol=1e-4, atol=1e-4)


def test_the_mean_over_outputs(mlp):
    apply, params = mlp
    x, y = images(4), images(3, 1)
    expected = jnp.einsum("nmcc->nm", jax.jit(lambda p: jacobian_kernel(apply, p, x, y))(params)) / 3
    assert jnp.allclose(jax.jit(lambda p: finite.ntk(apply, p, x, y))(params), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_head_kernel_adds_the_conjugate_kernel_to_the_body(convnet):
    model, params = convnet
    x, y = images(3), images(2, 1)
    head = params["head"]["kernel"]

    def body(rest, images):
        return model.apply({**rest, "head": {**rest["head"], "kernel": head}}, images)

    rest = {**params, "head": {"bias": params["head"]["bias"]}}
    total = jax.jit(lambda p: finite.ntk(model.apply, p, x, y, average=False))(params)
    part = jax.jit(lambda p: finite.ntk(body, p, x, y, average=False))(rest)
    expected = finite.conjugate(model.features, params, x, y)[:, :, None, None] * jnp.eye(3)[None, None]
    assert jnp.allclose(total - part, expected, atol=1e-5)
