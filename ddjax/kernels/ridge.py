"""Kernel ridge regression by Cholesky: factor once, solve as often as needed.

Every ridge is absolute; `relative` converts one in units of the kernel's mean diagonal.
"""

import contextlib
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float

from ddjax.kernels.gram import matmul_highest
from ddjax.precision import enable_x64

Scalar = Float[Array, ""] | float


class Factor(NamedTuple):
    """A factored kernel matrix, as a pytree of arrays."""

    kernel: Any  # [m m]
    ridge: Any  # []
    lower: Any  # [m m], K + ridge * I = lower lower^T, perhaps in a higher precision than the kernel


def relative(k_mm: Float[Array, "m m"], ridge: Scalar) -> Float[Array, ""]:
    """The absolute ridge that equals `ridge` times the mean diagonal, trace(K) / m, as in FRePo and KIP."""
    return ridge * jnp.trace(k_mm) / len(k_mm)


def _precision(dtype: Any) -> contextlib.AbstractContextManager:
    # double precision for single operations of a float32 program
    return enable_x64(True) if dtype == jnp.float64 else contextlib.nullcontext()


def factor(k_mm: Float[Array, "m m"], ridge: Scalar, dtype: Any = None) -> Factor:
    """Factor K + ridge * I for `solve`.

    Args:
      k_mm: the kernel matrix.
      ridge: the absolute ridge.
      dtype: dtype of the factorisation and of its solves; None takes that of the kernel.

    Returns:
      The factor. A matrix that is not positive definite at this ridge gives NaN: raise the ridge, or use float64.

    Example:
      >>> import jax.numpy as jnp
      >>> solve(factor(jnp.eye(2), 3.0), jnp.array([4.0, 8.0])).tolist()
      [1.0, 2.0]
    """
    dtype = k_mm.dtype if dtype is None else jnp.dtype(dtype)
    ridge = jnp.asarray(ridge, k_mm.dtype)
    with _precision(dtype):
        # `solve` defines the derivatives; the factor itself has none
        exact = lax.stop_gradient(k_mm).astype(dtype)
        lower = jnp.linalg.cholesky(exact + lax.stop_gradient(ridge).astype(dtype) * jnp.eye(len(k_mm), dtype=dtype))
    return Factor(k_mm, ridge, lower)


def solve(factor: Factor, b: Float[Array, "m *k"]) -> Float[Array, "m *k"]:
    """(K + ridge * I)^-1 b, computed in the factor's dtype and returned in that of b.

    It is differentiable in kernel, ridge and b, to any order and in both modes, by the implicit function theorem: each
    derivative is one more solve with the same factor.

    Args:
      factor: a result of `factor`.
      b: one or several right-hand sides.

    Returns:
      The solution, of the shape and dtype of b.
    """

    def exact(_: Any, b: Array) -> Array:
        with _precision(factor.lower.dtype):
            return cho_solve((factor.lower, True), b.astype(factor.lower.dtype)).astype(b.dtype)

    def times(x: Array) -> Array:
        return (matmul_highest(factor.kernel, x) + factor.ridge * x).astype(x.dtype)

    return lax.custom_linear_solve(times, b, exact, symmetric=True)


def ridge_predict(
    k_nm: Float[Array, "n m"],
    k_mm: Float[Array, "m m"],
    labels_m: Float[Array, "m k"],
    ridge: Scalar,
    dtype: Any = None,
) -> Float[Array, "n k"]:
    """Predictions of kernel ridge regression, K_nm (K_mm + ridge * I)^-1 labels.

    Args:
      k_nm: kernel of new against support examples.
      k_mm: kernel of the support examples.
      labels_m: labels of the support examples.
      ridge: the absolute ridge.
      dtype: dtype of the solve, see `factor`.

    Returns:
      One row of class scores per new example.

    Example:
      >>> import jax.numpy as jnp
      >>> ridge_predict(jnp.eye(2), jnp.eye(2), jnp.array([[4.0], [8.0]]), 3.0).tolist()
      [[1.0], [2.0]]
    """
    return matmul_highest(k_nm, solve(factor(k_mm, ridge, dtype), labels_m))
