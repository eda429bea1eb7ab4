"""Full-batch descent as one scan: the inner loop of a bilevel problem, and the published way to solve a linear one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import Array, Float, Int

Tree = Any


class Descent(NamedTuple):
    """Where a descent ended, and the value before each of its updates (the value after the last is not among them)."""

    point: Tree
    curve: Float[Array, "steps"]


def adam_at(rate: Float[Array, ""] | float) -> optax.GradientTransformation:
    """Adam at a rate that may be traced, so that trying another rate compiles nothing."""
    return optax.chain(optax.scale_by_adam(), optax.scale(-rate))


def aged(state: Tree, count: Int[Array, ""]) -> Tree:
    """An optimiser state that believes to have taken `count` steps, with its moments as they are."""

    def is_adam(node: Any) -> bool:
        return isinstance(node, optax.ScaleByAdamState)

    def older(node: Any) -> Any:
        return node._replace(count=count.astype(node.count.dtype)) if is_adam(node) else node

    return jax.tree.map(older, state, is_leaf=is_adam)


def descend(
    value_and_gradient: Callable[[Tree, Int[Array, ""]], tuple[Float[Array, ""], Tree]],
    start: Tree,
    steps: int,
    optimiser: optax.GradientTransformation,
    opt_state: Tree = None,
) -> Descent:
    """`steps` updates from `start`; the function is also told the number of the step, to draw rows by."""

    def body(carry: tuple[Tree, Tree], step: Int[Array, ""]) -> tuple[tuple[Tree, Tree], Float[Array, ""]]:
        point, state = carry
        value, gradient = value_and_gradient(point, step)
        updates, state = optimiser.update(gradient, state, point)
        return (optax.apply_updates(point, updates), state), value

    opt_state = optimiser.init(start) if opt_state is None else opt_state
    (point, _), curve = jax.lax.scan(body, (start, opt_state), jax.numpy.arange(steps))
    return Descent(point, curve)
