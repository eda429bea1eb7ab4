"""Rates of a machine: the table of data sheets, and what is measured."""

from unittest import mock

import jax.numpy as jnp

from ddjax import machine


def test_a_longer_name_is_found_before_a_shorter_one():
    names = list(machine.PUBLISHED)
    for i, name in enumerate(names):
        assert machine.published(f"{name} with more") is machine.PUBLISHED[name], name
        assert not any(name.startswith(other) for other in names[:i])
    assert machine.published("cpu") is machine.published("NVIDIA L40") is None


def test_the_memory_is_that_of_a_device_of_this_process(monkeypatch):
    there = mock.Mock(memory_stats=mock.Mock(side_effect=RuntimeError("only supported for addressable devices")))
    here = mock.Mock(memory_stats=lambda: {"bytes_limit": 5})
    monkeypatch.setattr(machine, "target", lambda: "gpu")
    monkeypatch.setattr("jax.devices", lambda: [there, here])
    monkeypatch.setattr("jax.local_devices", lambda: [here])
    assert machine.memory() == 5


def test_a_product_is_counted_and_timed():
    function, matrix, operations = machine.product("float32", side=8)
    assert operations == 1024 and jnp.allclose(function(matrix), matrix @ matrix, rtol=1e-5)
    assert machine.product(None, side=8)[1].dtype == jnp.bfloat16
    assert machine.rate("float32", side=64, repeats=1) > 0
