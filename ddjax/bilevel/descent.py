"""Full-batch gradient descent as one scan: the inner loop of a bilevel problem, and a solver for linear systems."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

Tree = Any


class Descent(NamedTuple):
    """The last point of a descent, and the value before each update; the value at the last point is not included."""

    point: Tree
    curve: Float[Array, "steps"]


def adam_at(rate: Float[Array, ""] | float) -> optax.GradientTransformation:
    """Adam at a rate that may be traced, so that another rate compiles nothing.

    Its derivative in a gradient of zero is taken as zero. That of the square root in Adam is infinite there.
    """
    return optax.chain(optax.stateless(_constant_zeros), optax.scale_by_adam(), optax.scale(-rate))


def _constant_zeros(gradient: Tree, _: Tree) -> Tree:
    def leaf(g: Array) -> Array:
        vanishes = g**2 < 1e3 * jnp.finfo(g.dtype).tiny  # its share of Adam's second moment, 1e-3, is rounded to zero
        return jnp.where(vanishes, jax.lax.stop_gradient(g), g)

    return jax.tree.map(leaf, gradient)


def descend(
    value_and_gradient: Callable[[Tree, Int[Array, ""]], tuple[Float[Array, ""], Tree]],
    start: Tree,
    steps: int,
    optimiser: optax.GradientTransformation,
    opt_state: Tree = None,
) -> Descent:
    """Take `steps` updates from `start`.

    Args:
      value_and_gradient: (point, step) -> (value, gradient); the step number allows a random batch per step.
      start: the first point.
      steps: number of updates.
      optimiser: the optimiser.
      opt_state: its first state; None initialises it at `start`.

    Returns:
      The last point, and the value before each update.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> found = descend(lambda x, step: (x**2, 2 * x), jnp.float32(1.0), 2, optax.sgd(0.25))
      >>> float(found.point), found.curve.tolist()
      (0.25, [1.0, 0.25])
    """

    def body(carry: tuple[Tree, Tree], step: Int[Array, ""]) -> tuple[tuple[Tree, Tree], Float[Array, ""]]:
        point, state = carry
        value, gradient = value_and_gradient(point, step)
        updates, state = optimiser.update(gradient, state, point)
        # with jax_enable_x64 an update may widen an array, which no loop accepts
        return optax.tree.cast_like((optax.apply_updates(point, updates), state), carry), value

    opt_state = optimiser.init(start) if opt_state is None else opt_state
    (point, _), curve = jax.lax.scan(body, (start, opt_state), jnp.arange(steps))
    return Descent(point, curve)
