"""How the minimum of an inner problem moves with what it depends on, as a value: implicit or unrolled.

An adjoint takes psi to the inner minimum t(psi) and to the function that pulls a gradient with respect to t back to
one with respect to psi. The parts stay apart on purpose: a method may clip or weigh the pulled-back gradient.
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
    """A gradient with respect to psi, and the curve of the linear solve behind it (empty without one)."""

    gradient: Tree
    curve: Float[Array, "steps"]


class Minimum(NamedTuple):
    """An inner minimum t, the values on the way there, and `pull`: dLoss/dt -> dLoss/dpsi through t."""

    point: Tree
    curve: Float[Array, "steps"]
    pull: Callable[[Tree], Pulled]


class Inner(NamedTuple):
    """An inner problem at one psi, minimised, with its derivatives there.

    `coupling(psi, v)` is <v, dL/dt(t, psi)> at the minimum, as a function of psi and up to what is constant in it.
    """

    found: Descent
    hessian: Matvec
    coupling: Callable[[Tree, Tree], Float[Array, ""]]


Adjoint = Callable[[Tree], Minimum]


def implicit(inner: Callable[[Tree], Inner], solve: Solve) -> Adjoint:
    """The implicit function theorem: dt/dpsi = -H^-1 d2L/dt dpsi, with H^-1 applied by `solve`."""

    def at(psi: Tree) -> Minimum:
        problem = inner(psi)

        def pull(gradient: Tree) -> Pulled:
            v, curve = solve(problem.hessian, gradient)
            return Pulled(jax.grad(lambda psi: -problem.coupling(psi, v))(psi), curve)

        return Minimum(*problem.found, pull)

    return at


def unrolled(inner: Callable[[Tree], Inner]) -> Adjoint:
    """Reverse differentiation of the minimiser itself, through every step that it took."""

    def at(psi: Tree) -> Minimum:
        point, back, curve = jax.vjp(lambda psi: inner(psi).found, psi, has_aux=True)
        return Minimum(point, curve, lambda gradient: Pulled(back(gradient)[0], jnp.zeros(0)))

    return at


def of_objective(
    objective: Callable[[Tree, Tree], Float[Array, ""]], minimise: Callable[[Tree], Descent]
) -> Callable[[Tree], Inner]:
    """Any smooth inner problem L(t, psi) with its minimiser; Hessian products and coupling by differentiation."""

    def inner(psi: Tree) -> Inner:
        found = minimise(psi)
        point = jax.lax.stop_gradient(found.point)
        gradient = jax.grad(objective)
        return Inner(
            found,
            lambda v: jax.jvp(lambda t: gradient(t, psi), (point,), (v,))[1],
            lambda psi, v: optax.tree.vdot(v, gradient(point, psi)),
        )

    return inner
