"""Every distiller of the table keeps the contract."""

import pathlib

import jax
import jax.numpy as jnp
import pytest

from ddjax import testing
from ddjax.distillers import DISTILLERS

QUICK = {
    "random": {"ipc": 3},
    "herding": {"ipc": 3, "feature_epochs": 2},
    "kcenter": {"ipc": 3, "feature_epochs": 2},
    "full": {},
}


def test_every_method_is_held_to_the_contract():
    files = {name: pathlib.Path(__file__).with_name(f"test_{name}.py") for name in DISTILLERS.keys() - QUICK.keys()}
    assert all("testing.contract(" in file.read_text() for file in files.values()), files


for _name, _fields in QUICK.items():
    globals()[f"test_{_name}"] = testing.contract(DISTILLERS[_name], **_fields)


def test_a_broken_distiller_fails():
    method = DISTILLERS["random"]

    def build(config, model):
        good = method.build(config, model)
        return good._replace(step=lambda state, batch: (good.step(state, batch)[0].images, {}))

    case = testing.Case(method._replace(build=build), method.config(ipc=2))
    with pytest.raises(AssertionError):
        testing.step_keeps_structure(case)


def test_a_step_that_compiles_again_fails():
    method = DISTILLERS["random"]

    def build(config, model):
        good = method.build(config, model)

        def step(state, batch):
            return jax.tree.map(lambda x: jnp.stack([x, x]) if x.dtype == jnp.float32 else x, state), {}

        return good._replace(step=step)

    case = testing.Case(method._replace(build=build, steps=lambda config: 3), method.config(ipc=2))
    with pytest.raises(AssertionError, match="traced 3 times"):
        testing.step_traces_once(case)


def test_a_step_that_is_not_counted_fails():
    method = DISTILLERS["random"]

    def build(config, model):
        good = method.build(config, model)
        return good._replace(step=lambda state, batch: (state, good.step(state, batch)[1]))

    case = testing.Case(method._replace(build=build), method.config(ipc=2))
    with pytest.raises(AssertionError, match="step is 0 at first and 0 after one step; it must be 0 and 1"):
        testing.step_is_counted(case)


def test_a_step_that_asks_the_host_fails():
    method = DISTILLERS["random"]

    def build(config, model):
        good = method.build(config, model)

        def step(state, batch):
            jax.debug.callback(lambda: None)
            return good.step(state, batch)

        return good._replace(step=step)

    case = testing.Case(method._replace(build=build), method.config(ipc=2))
    with pytest.raises(AssertionError, match=r"leaves the device by \['debug_callback'\]"):
        testing.no_call_of_the_host(case)
