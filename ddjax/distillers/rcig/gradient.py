"""The gradient of RCIG's outer loss in the support: a direct part, and a part through the inner minimum."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax import bilevel, trees
from ddjax.bilevel import Inner
from ddjax.distillers.rcig import inner as rcig_inner
from ddjax.distillers.rcig.config import RcigConfig
from ddjax.distillers.rcig.inner import InnerProblem, draw_rows, inner_problem
from ddjax.distillers.rcig.losses import RealBatch, couple, coupling, learned, of_images, outer, score
from ddjax.distillers.rcig.outer import Scored, Support, expand
from ddjax.distillers.rcig.tangent import Frozen, Tangent, linearise, origin, outputs
from ddjax.types import PRNGKey


class Keys(NamedTuple):
    """One key for each purpose of an outer step."""

    member: PRNGKey
    inner: PRNGKey
    direct: PRNGKey
    hinv: PRNGKey
    implicit: PRNGKey
    length: PRNGKey
    training: PRNGKey
    renewal: PRNGKey


def keys_of(key: PRNGKey, step: Int[Array, ""]) -> Keys:
    """The keys of one outer step, a function of (key, step)."""
    return Keys(*jax.random.split(jax.random.fold_in(key, step), len(Keys._fields)))


class Gradient(NamedTuple):
    """Both parts of the gradient before clipping, with logged values."""

    direct: Support
    indirect: Support
    scored: Scored
    inner_curve: Float[Array, "steps"]
    hinv_curve: Float[Array, "steps"]


def the_problem(config: RcigConfig, frozen: Frozen, support: Support) -> InnerProblem:
    """The inner problem of a support at a frozen network."""
    images, labels = expand(support, config.flip)
    tangents = linearise(frozen, images, block=config.forward_block, with_kernel=config.quirk_head_kernel)
    dtype = jnp.float64 if config.float64_solve else None
    return inner_problem(tangents, labels, config.ridge(labels.shape[1]), dtype)


def minimise(
    config: RcigConfig, frozen: Frozen, problem: InnerProblem, rate: Any, key: PRNGKey, age: Array
) -> bilevel.Descent:
    """The inner steps at a learning rate."""
    return rcig_inner.descend(
        problem,
        origin(frozen, config.quirk_head_kernel),
        rate,
        config.inner_steps,
        rows=draw_rows(key, len(problem.labels), config.inner_rows),
        age=age if config.quirk_old_counter else None,
    )


def solver(config: RcigConfig, rate: Any, key: PRNGKey, n: int) -> bilevel.Solve:
    """The solver of the inverse Hessian."""
    if config.solver == "cg":
        return bilevel.conjugate_gradient(config.hinv_steps)
    if config.solver == "woodbury":
        return bilevel.woodbury()
    rows = draw_rows(key, n, config.hinv_rows)
    at = None if rows is None else lambda hessian, step: rcig_inner.sampled(hessian, rows(step))
    return bilevel.adam(rate, config.hinv_steps, at)


def _mean(parts: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *parts)


def _draws(key: PRNGKey, n: int, count: int, repeats: int) -> list[Array | None]:
    rows = draw_rows(key, n, count)
    return [None] if rows is None else [rows(jnp.int32(i)) for i in range(repeats)]


def direct_gradient(
    config: RcigConfig,
    frozen: Frozen,
    problem: InnerProblem,
    batch: RealBatch,
    t: Tangent,
    support: Support,
    key: PRNGKey,
) -> tuple[Scored, Tangent, Support]:
    """The outer loss, its gradient in t, and its gradient in the support at fixed t."""

    def one(rows: tuple[Array | None, Array | None]) -> tuple[Scored, Tangent, Support]:
        def value(t: Tangent, support: Support) -> tuple[Array, Scored]:
            scored = outer(config, frozen, problem, batch, rows, t, support)
            return scored.loss, scored

        (_, scored), gradients = jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(t, support)
        return scored, *gradients

    support_key, batch_key = jax.random.split(key)
    first = _draws(support_key, len(problem.labels), config.direct_support, config.repeats)
    second = _draws(batch_key, len(batch.images), config.direct_batch, config.repeats)
    count = max(len(first), len(second))
    pairs = zip(first * (count // len(first)), second * (count // len(second)), strict=True)
    return _mean([one(pair) for pair in pairs])


def one_pass(
    config: RcigConfig,
    frozen: Frozen,
    problem: InnerProblem,
    batch: RealBatch,
    support: Support,
    descent: bilevel.Descent,
    solve: bilevel.Solve,
    key: PRNGKey,
) -> Gradient:
    """Both parts by the implicit function theorem, where all rows of the support are differentiated.

    Both parts differentiate one pass of the network over the support, in a loop of two: a program holds the
    derivatives once, and compiles in half the time.

    Args:
      config: the settings.
      frozen: the network.
      problem: the inner problem.
      batch: real images.
      support: the support.
      descent: to the inner minimum.
      solve: the solver of the inverse Hessian.
      key: draws the rows of the real batch.

    Returns:
      Both parts, with curves and losses.
    """
    t, (_, labels) = descent.point, learned(config, support)

    def at(t: Tangent, rows: Array | None) -> tuple[Array, tuple[Scored, tuple]]:
        of_batch = of_images(config, frozen, batch, t, rows)
        of_support = problem.map.features, problem.map.forward(t)
        scored = score(problem, of_support, of_batch, batch.targets, labels, support.log_temperature)
        return scored.loss, (scored, of_batch)

    draws = _draws(jax.random.split(key)[1], len(batch.images), config.direct_batch, config.repeats)
    parts = [jax.value_and_grad(at, has_aux=True)(t, rows) for rows in draws]
    (_, (scored, of_batch)), in_t = _mean(parts)
    v, curve = solve(rcig_inner.hessian(problem), in_t)

    def both(support: Support) -> Float[Array, "2"]:
        images, labels = learned(config, support)
        phi, jv, jt = outputs(frozen, images, v, t)
        scored = score(problem, (phi, jt), of_batch, batch.targets, labels, support.log_temperature)
        return jnp.stack([scored.loss, -couple(problem, phi, jv, jt, labels)])

    values, back = jax.vjp(both, support)
    (found,) = jax.lax.map(back, jnp.eye(2, dtype=values.dtype))
    direct, indirect = (trees.take(found, part) for part in (0, 1))
    return Gradient(direct, indirect, scored, descent.curve, curve)


def gradient(
    config: RcigConfig,
    frozen: Frozen,
    support: Support,
    batch: RealBatch,
    rates: tuple[Any, Any],
    keys: Keys,
    age: Int[Array, ""],
) -> Gradient:
    """Both parts of the gradient at one network.

    Args:
      config: the settings.
      frozen: the network.
      support: the support.
      batch: real images.
      rates: learning rates of the inner steps and of the inverse Hessian.
      keys: keys of the outer step.
      age: training steps of the pool network.

    Returns:
      The direct and the indirect part, with curves and losses.
    """
    fixed = the_problem(config, frozen, jax.lax.stop_gradient(support))
    n = len(fixed.labels)

    def inner(psi: Support) -> Inner:
        problem = the_problem(config, frozen, psi) if config.hypergradient == "unrolled" else fixed
        descent = minimise(config, frozen, problem, rates[0], keys.inner, age)
        draws = _draws(keys.implicit, n, config.implicit_rows, config.repeats)

        def coupled(psi: Support, v: Tangent) -> Array:
            return _mean([coupling(config, frozen, problem, rows, descent.point, psi, v) for rows in draws])

        return Inner(descent, rcig_inner.hessian(problem), coupled)

    solve = solver(config, rates[1], keys.hinv, n)
    counts = (config.direct_support, config.implicit_rows)
    if config.hypergradient == "implicit" and all(draw_rows(keys.direct, n, count) is None for count in counts):
        descent = inner(support).descent
        return one_pass(config, frozen, fixed, batch, support, descent, solve, keys.direct)
    adjoint = bilevel.unrolled(inner) if config.hypergradient == "unrolled" else bilevel.implicit(inner, solve)
    minimum = adjoint(support)
    scored, in_t, direct = direct_gradient(config, frozen, fixed, batch, minimum.point, support, keys.direct)
    pulled = minimum.pull(in_t)
    return Gradient(direct, pulled.gradient, scored, minimum.curve, pulled.curve)
