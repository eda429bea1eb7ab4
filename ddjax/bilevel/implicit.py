"""The derivative of an inner minimum in the parameters psi of the inner problem, implicit or unrolled.

An adjoint maps psi to the inner minimum t(psi), and to a function that pulls a gradient in t back to a gradient in
psi. The two parts are separate, so that a method can clip or weight the pulled-back gradient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ddjax.bilevel.descent import Descent
from ddjax.bilevel.linear import Matvec, Solve

Tree = Any


class Pulled(NamedTuple):
    """A gradient in psi, and the curve of the linear solve behind it (empty without a solve)."""

    gradient: Tree
    curve: Float[Array, "steps"]


class Minimum(NamedTuple):
    """An inner minimum t, the values on the way to it, and `pull`: dLoss/dt -> dLoss/dpsi through t."""

    point: Tree
    curve: Float[Array, "steps"]
    pull: Callable[[Tree], Pulled]


class Inner(NamedTuple):
    """A minimised inner problem at one psi, with its derivatives at the minimum.

    `coupling(psi, v)` is <v, dL/dt(t, psi)> at the minimum, as a function of psi, up to a constant.
    """

    descent: Descent
    hessian: Matvec
    coupling: Callable[[Tree, Tree], Float[Array, ""]]


Adjoint = Callable[[Tree], Minimum]


def implicit(inner: Callable[[Tree], Inner], solve: Solve) -> Adjoint:
    """The adjoint by the implicit function theorem: dt/dpsi = -H^-1 d2L/dt dpsi.

    Args:
      inner: psi -> the minimised inner problem.
      solve: applies H^-1.

    Returns:
      The adjoint.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddjax.bilevel import Descent, conjugate_gradient, of_objective
      >>> inner = of_objective(lambda t, psi: (t - 3 * psi) ** 2, lambda psi: Descent(3 * psi, jnp.zeros(0)))
      >>> minimum = implicit(inner, conjugate_gradient(1))(jnp.float32(2.0))
      >>> float(minimum.point), float(minimum.pull(jnp.float32(1.0)).gradient)
      (6.0, 3.0)
    """

    def at(psi: Tree) -> Minimum:
        problem = inner(psi)

        def pull(gradient: Tree) -> Pulled:
            v, curve = solve(problem.hessian, gradient)
            return Pulled(jax.grad(lambda psi: -problem.coupling(psi, v))(psi), curve)

        return Minimum(*problem.descent, pull)

    return at


def unrolled(inner: Callable[[Tree], Inner]) -> Adjoint:
    """The adjoint by reverse differentiation of the minimiser through all of its steps.

    Args:
      inner: psi -> the minimised inner problem; only its `descent` is used.

    Returns:
      The adjoint.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddjax.bilevel import Descent, of_objective
      >>> inner = of_objective(lambda t, psi: (t - 3 * psi) ** 2, lambda psi: Descent(3 * psi, jnp.zeros(0)))
      >>> float(unrolled(inner)(jnp.float32(2.0)).pull(jnp.float32(1.0)).gradient)
      3.0
    """

    def at(psi: Tree) -> Minimum:
        point, back, curve = jax.vjp(lambda psi: inner(psi).descent, psi, has_aux=True)
        return Minimum(point, curve, lambda gradient: Pulled(back(gradient)[0], jnp.zeros(0)))

    return at


def of_objective(
    objective: Callable[[Tree, Tree], Float[Array, ""]], minimise: Callable[[Tree], Descent]
) -> Callable[[Tree], Inner]:
    """Any smooth inner problem L(t, psi) with its minimiser. Hessian products and coupling come from differentiation.

    Args:
      objective: (t, psi) -> L.
      minimise: psi -> the descent to the minimum.

    Returns:
      psi -> the minimised inner problem.
    """

    def inner(psi: Tree) -> Inner:
        descent = minimise(psi)
        point = jax.lax.stop_gradient(descent.point)
        gradient = jax.grad(objective)
        return Inner(
            descent,
            lambda v: jax.jvp(lambda t: gradient(t, psi), (point,), (v,))[1],
            lambda psi, v: optax.tree.vdot(v, gradient(point, psi)),
        )

    return inner
