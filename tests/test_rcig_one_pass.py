"""RCIG's gradient from one pass over the support is that of its two parts, each differentiated on its own."""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest
import rcig_problem as tiny

from ddjax.distillers.rcig import gradient as rcig_gradient
from ddjax.distillers.rcig import inner as rcig_inner

RATES = (1e-3, 1e-3)


def keys():
    return rcig_gradient.Keys(*jax.random.split(jax.random.key(5), 8))


def one_pass(config, support):
    return rcig_gradient.gradient(config, tiny.frozen(), support, tiny.batch(), RATES, keys(), jnp.int32(0))


def two_passes(config, support):
    used, frozen, problem, n = keys(), tiny.frozen(), tiny.problem(support, config), len(support.images)
    descent = rcig_gradient.minimise(config, frozen, problem, RATES[0], used.inner, jnp.int32(0))
    parts = frozen, problem, tiny.batch(), descent.point, support, used.direct
    scored, in_t, direct = rcig_gradient.direct_gradient(config, *parts)
    v, curve = rcig_gradient.solver(config, RATES[1], used.hinv, n)(rcig_inner.hessian(problem), in_t)

    def value(support):
        return -rcig_gradient.coupling(config, frozen, problem, None, descent.point, support, v)

    return rcig_gradient.Gradient(direct, jax.grad(value)(support), scored, descent.curve, curve)


DRAWN = {"direct_batch": 5, "repeats": 2, "forward_block": 5, "learn_labels": False}


@pytest.mark.parametrize("fields", [{}, pytest.param(DRAWN, marks=pytest.mark.slow)])
def test_one_pass_gives_both_parts(fields):
    with jax.enable_x64(True):
        tiny.ready()
        config = tiny.with_config(**fields)

        found, wanted = (jax.jit(functools.partial(way, config))(tiny.support()) for way in (one_pass, two_passes))
        assert float(jnp.abs(wanted.indirect.images).max()) > 1e-9
        chex.assert_trees_all_close(found, wanted, rtol=1e-9, atol=1e-13)
