"""The tiny problem that RCIG's mathematics is checked on: two blocks, 8x8x3 images, 4 classes, double precision."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from ddjax import bilevel
from ddjax.distillers import rcig
from ddjax.distillers.rcig import gradient as rcig_gradient
from ddjax.distillers.rcig import inner as rcig_inner
from ddjax.distillers.rcig.gradient import RealBatch
from ddjax.distillers.rcig.outer import Support
from ddjax.distillers.rcig.tangent import freeze, origin
from ddjax.preprocess import centered

K, M, B, SIDE = 4, 8, 16, 8
CONFIG = rcig.RcigConfig(ipc=2, l2_rate=0.05 / M, width=3, depth=2, flip=False, inner_steps=6, hinv_steps=6)
RIDGE = CONFIG.ridge(K)


def double(tree):
    return jax.tree.map(lambda x: x.astype(jnp.float64), tree)


@functools.cache
def model():
    return rcig.network(CONFIG, (SIDE, SIDE, 3), K)


@functools.cache
def params():
    return double(model().init(jax.random.key(0)))


def frozen():
    return freeze(model(), params())


@functools.cache
def support():
    rng = np.random.default_rng(0)
    labels = np.array(centered(jnp.arange(M) // 2, K)) + 0.05 * rng.standard_normal((M, K))
    labels[0] *= 0.02  # a row whose lead is below the cap of the margin
    return Support(
        images=jnp.asarray(rng.standard_normal((M, SIDE, SIDE, 3))),
        labels=jnp.asarray(labels),
        log_temperature=jnp.float64(0.3),
    )


@functools.cache
def batch():
    rng = np.random.default_rng(1)
    images = jnp.asarray(rng.standard_normal((B, SIDE, SIDE, 3)))
    return RealBatch(images, double(centered(jnp.arange(B) % K, K)))


def with_config(**fields):
    return dataclasses.replace(CONFIG, **fields)


def problem(at=None, config=CONFIG):
    return rcig_gradient.the_problem(config, frozen(), support() if at is None else at)


def ready():
    """Compute what is shared now, and not while something is traced."""
    return params(), support(), batch(), solved()


def tangent(seed, scale=0.1):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(scale * rng.standard_normal(x.shape)), origin(frozen()))


def flat(tree):
    """In NumPy, as all closed forms are: JAX compiles each operation that runs on its own."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def _jacobian(images):
    zero, back = jax.flatten_util.ravel_pytree(origin(frozen()))
    head = params()["head"]

    def logits(vector):
        t = back(vector)
        body = jax.tree.map(jnp.add, frozen().body, t["body"])
        return model().apply({**body, "head": {**head, "bias": head["bias"] + t["bias"]}}, images)

    return jax.jacrev(logits)(zero).reshape(len(images) * K, -1)


def exact(problem):
    """The minimum t = J^T (A x I_k + J J^T)^-1 vec(Y)."""
    dual = bilevel.dual_matrix(rcig_inner.hessian(problem))
    return problem.map.transpose(jnp.linalg.solve(dual, problem.labels.ravel()).reshape(problem.labels.shape))


@functools.cache
def solved():
    """The exact minimum, loss with g and direct gradient, H^-1 g, the implicit gradient; Jacobians, features."""

    @jax.jit
    def run(support, batch):
        problem_ = problem(support)
        t = exact(problem_)
        parts = rcig_gradient.direct_gradient(CONFIG, frozen(), problem_, batch, t, support, jax.random.key(3))
        v = bilevel.woodbury()(rcig_inner.hessian(problem_), parts[1]).x

        def value(support):
            return -rcig_gradient.coupling(CONFIG, frozen(), problem_, None, t, support, v)

        both = support.images, batch.images
        phi = [frozen().features(frozen().body, images) for images in both]
        return (t, parts, v, jax.grad(value)(support)), ([_jacobian(images) for images in both], phi)

    found, of_both = run(support(), batch())
    return *found, *jax.tree.map(np.asarray, of_both)


def exact_minimum():
    return solved()[0]


def outer_parts():
    """The loss, g and the direct gradient at the exact inner minimum."""
    return solved()[1]


def exact_v():
    """H^-1 g."""
    return solved()[2]


def implicit_part():
    return solved()[3]


def jacobians():
    """J of the support and of the batch, [rows k, parameters]."""
    return solved()[4]


def features():
    """Those of the support and of the batch, [rows d]."""
    return solved()[5]
