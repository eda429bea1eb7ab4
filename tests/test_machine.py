"""Rates of a machine: the table of data sheets, and what is measured."""

import jax.numpy as jnp

from ddjax import machine


def test_a_longer_name_is_found_before_a_shorter_one():
    names = list(machine.PUBLISHED)
    for i, name in enumerate(names):
        assert machine.published(f"{name} with more") is machine.PUBLISHED[name], name
        assert not any(name.startswith(other) for other in names[:i])
    assert machine.published("cpu") is None


def test_a_product_is_counted_and_timed():
    function, matrix, operations = machine.product("float32", side=8)
    assert operations == 1024 and jnp.allclose(function(matrix), matrix @ matrix, rtol=1e-5)
    assert machine.product(None, side=8)[1].dtype == jnp.bfloat16
    assert machine.rate("float32", side=64, repeats=1) > 0
