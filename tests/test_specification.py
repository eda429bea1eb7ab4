"""What stands for a network in the key of a cache: two that differ have two, one has the same in every process."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from ddjax.experts import trajectories
from ddjax.experts.identity import identity, layout
from ddjax.models import build, from_linen, program, specification
from ddjax.models.from_linen import in_words
from ddjax.storage.rows import fingerprint
from ddjax.testing import toy_train
from ddjax.training import Recipe
from ddjax.types import Model

SHAPE = (8, 8, 3)
OPTIONS = {"depth": 1, "width": 4}
VARIANTS = {
    "as published": {},
    "group norm": {"norm": "group"},
    "softplus": {"activation": "softplus"},
    "softplus of another sharpness": {"activation": "softplus", "beta": 20.0},
    "leaky": {"activation": "leaky"},
    "another initialisation": {"init": "lecun"},
    "batch norm": {"norm": "batch"},
    "batch norm of another momentum": {"norm": "batch", "batch_momentum": 0.1},
}


def variant(name):
    return build("convnet", SHAPE, 3, **OPTIONS, **VARIANTS[name])


def written_by_a_fork(activation):
    """A module of one name and one set of fields, whatever its code does."""

    class Small(nn.Module):
        num_classes: int

        @nn.compact
        def __call__(self, images, present=None):
            features = activation(nn.Dense(5)(images.reshape(len(images), -1)))
            return nn.Dense(self.num_classes)(features), features

    return Small(3)


def from_nnx(activation):
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first, self.head = nnx.Linear(192, 5, rngs=rngs), nnx.Linear(5, 3, rngs=rngs)

        def features(self, images):
            return activation(self.first(images.reshape(len(images), -1)))

    definition = nnx.graphdef(nnx.eval_shape(lambda: Net(nnx.Rngs(0))))

    def init(key):
        return nnx.to_pure_dict(nnx.state(Net(nnx.Rngs(key)), nnx.Param))

    def net(params):
        module = nnx.eval_shape(lambda: Net(nnx.Rngs(0)))
        state = nnx.state(module)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(definition, state)

    def features(params, images):
        return net(params).features(images)

    def apply(params, images):
        return net(params).head(features(params, images))

    return Model(init, apply, features, lambda params, images, weight: (apply(params, images), params))


def by_hand(apply=lambda w, x: x @ w, init=lambda key: jax.random.normal(key, (192, 3))):
    def logits(params, images):
        return apply(params, images.reshape(len(images), -1))

    def features(params, images):
        return images.reshape(len(images), -1)

    return Model(init, logits, features, lambda params, images, weight: (logits(params, images), params))


def test_every_option_that_changes_numbers_changes_the_key():
    found = [specification(variant(name), SHAPE) for name in VARIANTS]
    for part in ("network", "program"):
        assert len({each[part] for each in found}) == len(VARIANTS)
    same = [layout(variant(name)) for name in ("as published", "group norm", "softplus", "leaky")]
    assert all(each == same[0] for each in same)  # so shapes alone would not tell them apart


def test_the_words_name_the_module_with_all_that_it_was_built_from():
    words = variant("group norm").spec
    assert words.startswith("ddjax.models.networks.convnet.ConvNet(num_classes=3, depth=1, width=4, ")
    assert "norm='group'" in words and "init='torch'" in words and words.endswith("of images [8, 8, 3]")
    assert in_words((np.int64(8), np.float64(0.9))) == "[8, 0.9]"  # as the same numbers of Python


def test_code_that_changed_behind_a_name_is_another_network():
    relu, gelu = (from_linen(written_by_a_fork(each), SHAPE) for each in (nn.relu, nn.gelu))
    assert relu.spec == gelu.spec
    assert program(relu, SHAPE) != program(gelu, SHAPE)
    assert program(relu, SHAPE) == program(from_linen(written_by_a_fork(nn.relu), SHAPE), SHAPE)


def test_other_frameworks_need_no_words():
    relu, gelu = from_nnx(nnx.relu), from_nnx(nnx.gelu)
    assert specification(relu, SHAPE)["network"] == ""
    assert program(relu, SHAPE) == program(from_nnx(nnx.relu), SHAPE) != program(gelu, SHAPE)


def test_the_derivative_counts():
    @jax.custom_jvp
    def straight(x):
        return jnp.sign(x)

    @jax.custom_jvp
    def halved(x):
        return jnp.sign(x)

    straight.defjvp(lambda primals, tangents: (jnp.sign(primals[0]), tangents[0]))
    halved.defjvp(lambda primals, tangents: (jnp.sign(primals[0]), tangents[0] / 2))
    one, other = (program(by_hand(lambda w, x, f=f: f(x @ w)), SHAPE) for f in (straight, halved))
    assert one != other


def test_the_values_of_arrays_that_a_network_closes_over_count():
    def scaled(filters):
        @jax.jit
        def inner(w, x):
            return (x * filters) @ w

        return program(by_hand(inner), SHAPE)

    filters = np.linspace(0, 1, 192, dtype=np.float32)[None]
    nearly = filters.copy()
    nearly[0, 100] += 1e-4
    assert scaled(filters) == scaled(filters.copy()) != scaled(nearly)
    drawn = [by_hand(init=lambda key, seed=s: jax.random.normal(jax.random.key(seed), (192, 3))) for s in (0, 1)]
    assert program(drawn[0], SHAPE) != program(drawn[1], SHAPE)


def test_rounded_products_are_another_program():
    exact = program(variant("as published"), SHAPE)
    with jax.default_matmul_precision("bfloat16"):
        assert program(variant("as published"), SHAPE) != exact


@pytest.mark.slow
def test_networks_of_equal_shapes_do_not_share_experts(tmp_path):
    def trained(activation):
        model = from_linen(written_by_a_fork(activation), SHAPE)
        return trajectories(model, Recipe(epochs=1, batch=12, rate=0.1), toy_train(), experts=1, folder=tmp_path).array

    relu, again, gelu = trained(nn.relu), trained(nn.relu), trained(nn.gelu)
    np.testing.assert_array_equal(relu, again)
    np.testing.assert_array_equal(relu[:, 0], gelu[:, 0])  # the initialisation
    assert (relu[:, 1] != gelu[:, 1]).any() and len(list(tmp_path.iterdir())) == 2


def test_a_network_whose_program_does_not_show_what_it_computes_is_not_kept(tmp_path):
    def asks(w, x):
        logits = x @ w
        return logits + jax.pure_callback(np.zeros_like, logits, jax.lax.stop_gradient(logits))

    model = by_hand(asks)
    assert program(model, SHAPE) is None
    with pytest.raises(ValueError, match=r"calls back into Python.*store=False"):
        trajectories(model, Recipe(epochs=1, batch=10, rate=0.1), toy_train(), experts=1, folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ddjax.experts.identity.versions", lambda: {"jax": "0.0.1", "jaxlib": "0.0.1"}),
        ("ddjax.experts.identity.FORMAT", 0),
        ("jax.default_backend", lambda: "gpu"),
    ],
)
def test_versions_and_backend_decide_the_bits(monkeypatch, name, value):
    def key():
        recipe = Recipe(epochs=1, batch=10, rate=0.1)
        return fingerprint(identity(by_hand(), recipe, toy_train(), kept=(0,), seed=0, storage="float32"))

    before = key()
    assert key() == before
    monkeypatch.setattr(name, value)
    assert key() != before


NAMES = ("as published", "batch norm of another momentum", "softplus")


@pytest.mark.slow
def test_another_process_finds_the_same_key():
    here = [str(specification(variant(name), SHAPE)) for name in NAMES]
    here.append(str(specification(from_linen(written_by_a_fork(nn.gelu), SHAPE), SHAPE)))
    code = f"""
import jax
import test_specification as t
from flax import linen as nn
for name in {NAMES!r}:
    print(t.specification(t.variant(name), t.SHAPE))
print(t.specification(t.from_linen(t.written_by_a_fork(nn.gelu), t.SHAPE), t.SHAPE))
"""
    paths = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", ""), os.getcwd()])
    own = os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": "7", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True)
    assert done.stdout.splitlines() == here, done.stderr[-2000:]
