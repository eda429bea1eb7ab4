"""Random orders have the values of JAX's own."""

import jax
import numpy as np
import pytest

from ddjax.backend import targeting
from ddjax.shuffle import distinct, permutation


@pytest.mark.parametrize("n", [0, 1, 2, 1625, 1626, 50_000])
def test_orders_are_those_of_jax(n):
    np.testing.assert_array_equal(permutation(jax.random.key(n), n), jax.random.permutation(jax.random.key(n), n))
    rows = jax.random.choice(jax.random.key(n), max(n, 1), (n // 2,), replace=False)
    np.testing.assert_array_equal(distinct(jax.random.key(n), n, n // 2), rows)


def test_members_have_their_own_orders():
    keys = jax.random.split(jax.random.key(0), 3)
    found = jax.vmap(lambda key: distinct(key, 2_000, 7))(jax.random.clone(keys))
    for key, rows in zip(keys, found, strict=True):
        np.testing.assert_array_equal(rows, jax.random.permutation(key, 2_000)[:7])


def test_a_program_sorts_in_one_place():
    with targeting("tpu"):
        text = jax.jit(lambda key: permutation(key, 50_000)).lower(jax.random.key(0)).as_text()
    assert text.count("stablehlo.sort") == 1
