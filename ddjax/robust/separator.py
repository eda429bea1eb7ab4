"""A line between features of trusted labels and of wrong ones: balanced logistic regression by Newton's method."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ddjax.kernels import matmul_highest

_RIDGE = 1e-4  # separable features would have no finite optimum
_STEPS = 20
_TINY = 1e-12


def separate(features: Float[Array, "n d"], trusted: Bool[Array, "n"], wrong: Bool[Array, "n"]) -> Float[Array, "n"]:
    """Probability that a row is of the `wrong` kind, learned from the rows that are trusted or wrong.

    Features are put on the unit sphere and standardised; both kinds count the same however many rows they have.
    Without rows of one kind it is 0 for all.
    """
    unit = features / jnp.maximum(jnp.linalg.norm(features, axis=1, keepdims=True), _TINY)
    scale = jnp.std(unit, axis=0, keepdims=True)
    x = (unit - jnp.mean(unit, axis=0, keepdims=True)) / jnp.where(scale > 1e-6, scale, 1.0)
    x = jnp.concatenate([x, jnp.ones((len(x), 1), x.dtype)], axis=1)
    y = wrong.astype(x.dtype)
    weight = wrong / jnp.maximum(jnp.sum(wrong), 1) + trusted / jnp.maximum(jnp.sum(trusted), 1)

    def newton(_: Array, line: Array) -> Array:
        p = jax.nn.sigmoid(matmul_highest(x, line))
        gradient = matmul_highest(x.T, weight * (p - y)) + _RIDGE * line
        curvature = matmul_highest(x.T * (weight * p * (1 - p))[None], x) + _RIDGE * jnp.eye(len(line), dtype=x.dtype)
        step = jnp.linalg.solve(curvature, gradient)
        # far from the optimum a full step overshoots; no step changes a standardised row's score by more than ~ 5
        return line - step * jnp.minimum(1.0, 5.0 / jnp.maximum(jnp.linalg.norm(step), _TINY))

    line = jax.lax.fori_loop(0, _STEPS, newton, jnp.zeros(x.shape[1], x.dtype))
    both = jnp.any(wrong) & jnp.any(trusted)
    return jnp.where(both, jax.nn.sigmoid(matmul_highest(x, line)), 0.0)
