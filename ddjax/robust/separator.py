"""Balanced logistic regression, by Newton's method, between features of trusted and of wrong labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ddjax.kernels import matmul_highest

_RIDGE = 1e-4  # without it, separable features have no finite optimum
_STEPS = 20
_TINY = 1e-12


def separate(features: Float[Array, "n d"], trusted: Bool[Array, "n"], wrong: Bool[Array, "n"]) -> Float[Array, "n"]:
    """Probability that a row is wrong, learned from the rows that are trusted or wrong.

    Args:
      features: of all rows; they are projected to the unit sphere and standardised.
      trusted: rows of the first kind. Both kinds have the same total weight.
      wrong: rows of the second kind.

    Returns:
      The probability for each row; 0 for all if one kind has no rows.
    """
    unit = features / jnp.maximum(jnp.linalg.norm(features, axis=1, keepdims=True), _TINY)
    scale = jnp.std(unit, axis=0, keepdims=True)
    x = (unit - jnp.mean(unit, axis=0, keepdims=True)) / jnp.where(scale > 1e-6, scale, 1.0)
    x = jnp.concatenate([x, jnp.ones((len(x), 1), x.dtype)], axis=1)
    y = wrong.astype(x.dtype)
    weight = wrong / jnp.maximum(jnp.sum(wrong), 1) + trusted / jnp.maximum(jnp.sum(trusted), 1)
    weight = weight.astype(x.dtype)

    def newton(_: Array, line: Array) -> Array:
        p = jax.nn.sigmoid(matmul_highest(x, line))
        gradient = matmul_highest(x.T, weight * (p - y)) + _RIDGE * line
        curvature = matmul_highest(x.T * (weight * p * (1 - p))[None], x) + _RIDGE * jnp.eye(len(line), dtype=x.dtype)
        step = jnp.linalg.solve(curvature, gradient)
        # a full step overshoots far from the optimum; this limits the change of a standardised row's score to about 5
        return line - step * jnp.minimum(1.0, 5.0 / jnp.maximum(jnp.linalg.norm(step), _TINY))

    line = jax.lax.fori_loop(0, _STEPS, newton, jnp.zeros(x.shape[1], x.dtype))
    both = jnp.any(wrong) & jnp.any(trusted)
    return jnp.where(both, jax.nn.sigmoid(matmul_highest(x, line)), 0.0)
