"""Solvers for H x = b, with a symmetric positive definite H given by its products: (matvec, b) -> x.

All solvers have one signature, so that a method can exchange them. Vectors are pytrees.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ddjax.bilevel import descent

Tree = Any
Matvec = Callable[[Tree], Tree]


class Solution(NamedTuple):
    """The solution `x`, and x (H x - 2 b), twice the quadratic, before each step; exact solvers have no steps."""

    x: Tree
    curve: Float[Array, "steps"]


Solve = Callable[[Matvec, Tree], Solution]


class IdentityPlusGram(NamedTuple):
    """H = scale (I + J^T (A^-1 x I_k) J), the Hessian of a ridge problem in a tangent space. A call multiplies by H.

    `forward` is t -> J t [n k], `transpose` is its adjoint, `solve` is r -> A^-1 r, and `matrix` is A [n n] itself.
    """

    scale: Any  # []
    forward: Callable[..., Float[Array, "n k"]]
    transpose: Callable[..., Tree]
    solve: Callable[[Float[Array, "n k"]], Float[Array, "n k"]]
    matrix: Any  # [n n]
    classes: int

    def __call__(self, x: Tree) -> Tree:
        """The product H x."""
        return jax.tree.map(lambda a, b: self.scale * (a + b), x, self.transpose(self.solve(self.forward(x))))


def adam(
    rate: Float[Array, ""] | float,
    steps: int,
    at: Callable[[Matvec, Int[Array, ""]], Matvec] | None = None,
) -> Solve:
    """Adam from zero on x H x / 2 - x b, as published for RCIG.

    Args:
      rate: learning rate. After few steps every entry of x is at most steps * rate.
      steps: number of steps.
      at: (matvec, step) -> the product of one step, for products with random rows; None takes `matvec`.

    Returns:
      A solver.
    """

    def solve(matvec: Matvec, b: Tree) -> Solution:
        def value_and_gradient(x: Tree, step: Int[Array, ""]) -> tuple[Array, Tree]:
            gradient = optax.tree.sub((at(matvec, step) if at else matvec)(x), b)
            return optax.tree.vdot(x, optax.tree.sub(gradient, b)), gradient

        start = optax.tree.zeros_like(b)
        return Solution(*descent.descend(value_and_gradient, start, steps, descent.adam_at(rate)))

    return solve


def conjugate_gradient(steps: int) -> Solve:
    """Conjugate gradients from zero.

    Args:
      steps: number of steps; an exact solution no longer changes.

    Returns:
      A solver.

    Example:
      >>> import jax.numpy as jnp
      >>> conjugate_gradient(1)(lambda x: 2 * x, jnp.array([2.0, 4.0])).x.tolist()
      [1.0, 2.0]
    """

    def solve(matvec: Matvec, b: Tree) -> Solution:
        def body(carry: tuple[Tree, Tree, Tree, Array], _: None) -> tuple[tuple[Tree, Tree, Tree, Array], Array]:
            x, r, p, rr = carry
            value = -optax.tree.vdot(x, optax.tree.add(r, b))  # as H x = b - r
            live = rr > 0
            hp = matvec(p)
            curvature = optax.tree.vdot(p, hp)
            size = jnp.where(live, rr / jnp.where(live, curvature, 1.0), 0.0)
            x = jax.tree.map(lambda a, d: a + size * d, x, p)
            r = jax.tree.map(lambda a, d: a - size * d, r, hp)
            new = jnp.where(live, optax.tree.vdot(r, r), rr)
            ratio = jnp.where(live, new / jnp.where(live, rr, 1.0), 0.0)
            return (x, r, jax.tree.map(lambda a, d: a + ratio * d, r, p), new), value

        start = (optax.tree.zeros_like(b), b, b, optax.tree.vdot(b, b))
        (x, *_), curve = jax.lax.scan(body, start, length=steps)
        return Solution(x, curve)

    return solve


def dual_matrix(hessian: IdentityPlusGram) -> Float[Array, "nk nk"]:
    """The matrix A x I_k + J J^T, with rows and columns ordered by (sample, class)."""
    size = len(hessian.matrix) * hessian.classes
    units = jnp.eye(size, dtype=hessian.matrix.dtype).reshape(size, -1, hessian.classes)
    gram = jax.lax.map(lambda unit: hessian.forward(hessian.transpose(unit)).ravel(), units)
    return jnp.kron(hessian.matrix, jnp.eye(hessian.classes, dtype=gram.dtype)) + gram


def woodbury() -> Solve:
    """The exact solution x = (b - J^T (A x I_k + J J^T)^-1 J b) / scale: a Cholesky of n k rows, for small n k.

    Raises:
      TypeError: when called, the Hessian is not an `IdentityPlusGram`.
    """

    def solve(matvec: Matvec, b: Tree) -> Solution:
        if not isinstance(matvec, IdentityPlusGram):
            raise TypeError(
                f"woodbury() needs a Hessian of the form IdentityPlusGram; got {type(matvec).__name__}. "
                "Use conjugate_gradient(steps), which needs products only."
            )
        j_b = matvec.forward(b)
        factor = jax.scipy.linalg.cho_factor(dual_matrix(matvec), lower=True)
        inner = matvec.transpose(jax.scipy.linalg.cho_solve(factor, j_b.ravel()).reshape(j_b.shape))
        return Solution(jax.tree.map(lambda a, c: (a - c) / matvec.scale, b, inner), jnp.zeros(0, j_b.dtype))

    return solve
