"""The inner problem of RCIG: ridge regression in the tangent space, with the head eliminated.

L(t) = [ |Y - O - K a|^2 / 2 + ridge (tr(a^T K a) + |t|^2) / 2 ] / (n k), with O = J t, A = K + ridge I and
a = A^-1 (Y - O). It equals ridge / (2 n k) [ tr((Y - O)^T A^-1 (Y - O)) + |t|^2 ], a convex quadratic in t. Every
gradient and Hessian product is therefore one product with J, one solve with a factor that is computed once, and one
product with J^T. Source: Loo et al., 2023 (arXiv:2302.06755).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ddjax import bilevel
from ddjax.bilevel import IdentityPlusGram
from ddjax.distillers.rcig.tangent import Tangent, TangentMap
from ddjax.kernels import factor, gram, solve
from ddjax.kernels.ridge import Factor
from ddjax.types import PRNGKey

Rows = Callable[[Array], Int[Array, "s"]]  # step number -> rows in its backward pass


class InnerProblem(NamedTuple):
    """The parts that all inner steps share."""

    map: TangentMap
    factor: Factor  # of A [n n]
    labels: Any  # [n k]
    scale: Any  # ridge / (n k)


def inner_problem(
    map: TangentMap, labels: Float[Array, "n k"], ridge: Float[Array, ""] | float, dtype: Any = None
) -> InnerProblem:
    """The problem of a linearised support.

    Args:
      map: the linearised network on the support.
      labels: regression labels of the support.
      ridge: the absolute ridge.
      dtype: dtype of the Cholesky solve; None takes that of the kernel.

    Returns:
      The problem, with its kernel factored.
    """
    return InnerProblem(map, factor(gram(map.features, map.features), ridge, dtype), labels, ridge / labels.size)


def loss_and_gradient(problem: InnerProblem, t: Tangent, rows: Array | None = None) -> tuple[Float[Array, ""], Tangent]:
    """L(t) over all rows, and its gradient ridge / (n k) (t - J^T a), in which J^T may be restricted to `rows`."""
    residual = problem.labels - problem.map.forward(t)
    alpha = solve(problem.factor, residual)
    value = 0.5 * problem.scale * (jnp.sum(residual * alpha) + optax.tree.vdot(t, t))
    back = problem.map.transpose(alpha if rows is None else alpha[rows], rows)
    return value, jax.tree.map(lambda a, b: problem.scale * (a - b), t, back)


def hessian(problem: InnerProblem) -> IdentityPlusGram:
    """The Hessian ridge / (n k) (I + J^T (A^-1 x I_k) J)."""
    n, k = problem.labels.shape
    return IdentityPlusGram(
        scale=problem.scale,
        forward=problem.map.forward,
        transpose=problem.map.transpose,
        solve=lambda r: solve(problem.factor, r),
        matrix=problem.factor.kernel + problem.factor.ridge * jnp.eye(n, dtype=problem.factor.kernel.dtype),
        classes=k,
    )


def sampled(hessian: IdentityPlusGram, rows: Int[Array, "s"]) -> Callable[[Tangent], Tangent]:
    """v -> ridge / (n k) (v + J_S^T (A^-1)_SS J_S v) for the rows S of one step, by the products of a `TangentMap`."""

    def product(v: Tangent) -> Tangent:
        j_v = hessian.forward(v, rows)
        kept = jnp.zeros((len(hessian.matrix), hessian.classes), j_v.dtype).at[rows].set(j_v)
        back = hessian.transpose(hessian.solve(kept)[rows], rows)
        return jax.tree.map(lambda a, b: hessian.scale * (a + b), v, back)

    return product


def descend(
    problem: InnerProblem,
    start: Tangent,
    rate: Float[Array, ""] | float,
    steps: int,
    *,
    rows: Rows | None = None,
    age: Int[Array, ""] | None = None,
) -> bilevel.Descent:
    """The published minimiser: Adam, restarted at every outer step.

    Args:
      problem: the inner problem.
      start: the first point.
      rate: Adam's learning rate.
      steps: number of steps.
      rows: the rows in the backward pass of each step; None takes all.
      age: first value of Adam's step counter, as in published code, where it makes the first steps shorter; None is 0.

    Returns:
      The last point, and the loss before each step. A head kernel in `start` is updated by its raw gradient, as in
      published code.
    """
    optimiser = optax.masked(bilevel.adam_at(rate), {name: name != "kernel" for name in start})
    state = optimiser.init(start)

    def value_and_gradient(t: Tangent, step: Array) -> tuple[Array, Tangent]:
        return loss_and_gradient(problem, t, rows(step) if rows else None)

    state = state if age is None else optax.tree.set(state, count=age)
    return bilevel.descend(value_and_gradient, start, steps, optimiser, state)


def draw_rows(key: PRNGKey, n: int, count: int) -> Rows | None:
    """A function that draws rows without replacement in each step; None if all n rows are wanted."""
    if not count or count >= n:
        return None
    return lambda step: jax.random.choice(jax.random.fold_in(key, step), n, (count,), replace=False)
