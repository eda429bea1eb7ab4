"""Kernel ridge regression by Cholesky: factor once, solve as often as needed.

The ridge is absolute everywhere; `relative` turns one in units of the kernel's mean diagonal into an absolute one.
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
    """A kernel matrix made ready for solves, a pytree of arrays."""

    kernel: Any  # [m m]
    ridge: Any  # []
    lower: Any  # [m m], K + ridge * I = lower lower^T, perhaps in a higher precision than the kernel


def relative(k_mm: Float[Array, "m m"], ridge: Scalar) -> Float[Array, ""]:
    """The absolute ridge that is `ridge` times the mean diagonal, trace(K) / m (FRePo, KIP)."""
    return ridge * jnp.trace(k_mm) / len(k_mm)


def _precision(dtype: Any) -> contextlib.AbstractContextManager:
    # double precision for a few operations, in programs that are float32 otherwise
    return enable_x64(True) if dtype == jnp.float64 else contextlib.nullcontext()


def factor(k_mm: Float[Array, "m m"], ridge: Scalar, dtype: Any = None) -> Factor:
    """K + ridge * I by Cholesky, for `solve`; `dtype=jnp.float64` does both in double precision.

    A matrix that is not positive definite at this ridge gives NaN: raise the ridge, or take float64.
    """
    dtype = k_mm.dtype if dtype is None else jnp.dtype(dtype)
    ridge = jnp.asarray(ridge, k_mm.dtype)
    with _precision(dtype):
        # derivatives are those of the solution, see `solve`: the factor itself has none
        exact = lax.stop_gradient(k_mm).astype(dtype)
        lower = jnp.linalg.cholesky(exact + lax.stop_gradient(ridge).astype(dtype) * jnp.eye(len(k_mm), dtype=dtype))
    return Factor(k_mm, ridge, lower)


def solve(factor: Factor, b: Float[Array, "m *k"]) -> Float[Array, "m *k"]:
    """(K + ridge * I)^-1 b, in the factor's precision and handed back in that of b.

    Differentiable in kernel, ridge and b, to any order and in both modes, by the implicit function theorem: each
    derivative is one more solve with the same factor.
    """

    def exact(_: Any, b: Array) -> Array:
        with _precision(factor.lower.dtype):
            return cho_solve((factor.lower, True), b.astype(factor.lower.dtype)).astype(b.dtype)

    def times(x: Array) -> Array:
        return matmul_highest(factor.kernel, x) + factor.ridge * x

    return lax.custom_linear_solve(times, b, exact, symmetric=True)


def ridge_predict(
    k_nm: Float[Array, "n m"],
    k_mm: Float[Array, "m m"],
    labels_m: Float[Array, "m k"],
    ridge: Scalar,
    dtype: Any = None,
) -> Float[Array, "n k"]:
    """Predictions K_nm (K_mm + ridge * I)^-1 labels; `dtype` is that of the solve, see `factor`."""
    return matmul_highest(k_nm, solve(factor(k_mm, ridge, dtype), labels_m))
