"""Gradients of an outer loss at the end of plain gradient descent, in the data and the step size of the descent.

theta[t + 1] = theta[t] - rate * g[t], where g[t] is the gradient of the mean loss on the batch of step t, and batches
are made of the learned quantities. All forms have one signature, so that a method can exchange them:

- `exact`: reverse differentiation of the scan, with one `jax.checkpoint` around each step;
- `adjoint`: the same values by the explicit recursion lambda[t] = (I - rate * H[t]) lambda[t + 1];
- `tesla`: the recursion with lambda fixed at its last value, from stored weights;
- `tesla_replay`: the same without stored weights, by running the training twice: memory does not grow with steps.

TESLA (Cui et al., 2022, arXiv:2211.10586) is exact for one step, for the last of several steps, and wherever the loss
is affine in theta; otherwise its relative error is of the order of rate * steps * curvature.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ddjax import trees
from ddjax.names import choose

Tree = Any
Outer = Callable[[Tree], Float[Array, ""]]

# includes the primitives of ddjax's convolution; with the names of JAX alone, nothing would be saved on a CPU
PRODUCTS = ("dot_general", "conv_general_dilated", "ddjax_convolution", "ddjax_kernel_gradient")
REMATS: dict[str, Callable[..., bool]] = {  # the values of a step that are kept for its derivative
    "nothing": jax.checkpoint_policies.nothing_saveable,
    "dots": lambda primitive, *_, **__: primitive.name in PRODUCTS,
    "everything": jax.checkpoint_policies.everything_saveable,
}


class Student(NamedTuple):
    """An inner problem. The leaves of `batch(learned, item)` have a leading axis of pieces of equal size.

    The loss of a step is the mean over pieces. Pieces are differentiated one after the other: more pieces need less
    memory, and change the result by rounding only.
    """

    batch: Callable[[Tree, Tree], Tree]
    loss: Callable[[Tree, Tree], Float[Array, ""]]  # (theta, one piece)


class Unrolled(NamedTuple):
    """The outer loss at the end of a training, the last weights, and the gradients of the loss."""

    value: Float[Array, ""]
    end: Tree
    learned: Tree
    rate: Float[Array, ""]


Hypergradient = Callable[[Student, Outer, Tree, Tree, Float[Array, ""], Tree], Unrolled]
"""(student, outer loss, theta[0], learned, rate, items [steps ...]) -> Unrolled"""


def _over_pieces(function: Callable[[Tree], tuple[Tree, Tree]], pieces: Tree) -> tuple[Tree, Tree]:
    """The mean summand and all `own` values, divided by the number of pieces; `function(piece)` is (summand, own)."""
    count = len(jax.tree.leaves(pieces)[0])
    if count == 1:
        total, own = function(trees.take(pieces, 0))
        return total, jax.tree.map(lambda x: x[None], own)

    def body(total: Tree, piece: Tree) -> tuple[Tree, Tree]:
        summand, own = function(piece)
        return optax.tree.add(total, summand), own

    shapes = jax.eval_shape(lambda p: function(trees.take(p, 0))[0], pieces)
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    total, own = jax.lax.scan(jax.checkpoint(body, prevent_cse=False), zero, pieces)
    return jax.tree.map(lambda x: x / count, (total, own))


def descend_once(student: Student, theta: Tree, learned: Tree, rate: Float[Array, ""], item: Tree) -> Tree:
    """One step of plain gradient descent."""
    gradient = jax.grad(student.loss)
    mean, _ = _over_pieces(lambda piece: (gradient(theta, piece), ()), student.batch(learned, item))
    return jax.tree.map(lambda p, g: p - rate * g, theta, mean)


class _Pulled(NamedTuple):
    gradient: Tree  # g
    slope: Array  # <direction, g>
    curved: Tree  # H direction
    learned: Tree  # d <direction, g> / d learned


def _pull(student: Student, theta: Tree, learned: Tree, item: Tree, direction: Tree) -> _Pulled:
    """All contributions of a step, from one forward derivative of the gradient along `direction`.

    Forward-over-reverse differentiation gives the Hessian product and the mixed derivatives at once, and keeps the
    drawn augmentation out of the second order. Values that the caller does not read are not computed.
    """
    pieces, back = jax.vjp(lambda learned: student.batch(learned, item), learned)

    def one(piece: Tree) -> tuple[Tree, Tree]:
        def gradients(theta: Tree) -> tuple[Array, tuple[Tree, Tree]]:
            return jax.value_and_grad(student.loss, (0, 1))(theta, piece)

        (_, (gradient, _)), (slope, (curved, mixed)) = jax.jvp(gradients, (theta,), (direction,))
        return (gradient, slope, curved), mixed

    (gradient, slope, curved), mixed = _over_pieces(one, pieces)
    return _Pulled(gradient, slope, curved, back(mixed)[0])


def exact(remat: str = "nothing") -> Hypergradient:
    """Reverse differentiation of the scan.

    Args:
      remat: what each step keeps besides its first weights, a name of `REMATS`.
    """
    policy = choose(REMATS, remat, "remat")

    def at(student: Student, outer: Outer, theta: Tree, learned: Tree, rate: Array, items: Tree) -> Unrolled:
        def objective(learned: Tree, rate: Array) -> tuple[Array, Tree]:
            def step(theta: Tree, item: Tree) -> tuple[Tree, None]:
                return descend_once(student, theta, learned, rate, item), None

            end, _ = jax.lax.scan(jax.checkpoint(step, prevent_cse=False, policy=policy), theta, items)
            return outer(end), end

        (value, end), gradients = jax.value_and_grad(objective, (0, 1), has_aux=True)(learned, rate)
        return Unrolled(value, end, *gradients)

    return at


def recursion(frozen: bool) -> Hypergradient:
    """The recursion, from the stored weights of every step: exact, or with `frozen` TESLA's estimate."""

    def at(student: Student, outer: Outer, theta: Tree, learned: Tree, rate: Array, items: Tree) -> Unrolled:
        def forward(theta: Tree, item: Tree) -> tuple[Tree, Tree]:
            return descend_once(student, theta, learned, rate, item), theta

        end, path = jax.lax.scan(forward, theta, items)
        value, last = jax.value_and_grad(outer)(end)

        def backward(carry: tuple[Tree, Tree, Array], at: tuple[Tree, Tree]) -> tuple[tuple[Tree, Tree, Array], None]:
            direction, in_learned, in_rate = carry
            theta, item = at
            pulled = _pull(student, theta, learned, item, last if frozen else direction)
            in_learned = jax.tree.map(lambda total, g: total - rate * g, in_learned, pulled.learned)
            if not frozen:
                direction = jax.tree.map(lambda v, h: v - rate * h, direction, pulled.curved)
            return (direction, in_learned, in_rate - pulled.slope), None

        start = (() if frozen else last, optax.tree.zeros_like(learned), jnp.zeros_like(rate))
        (_, in_learned, in_rate), _ = jax.lax.scan(backward, start, (path, items), reverse=True)
        return Unrolled(value, end, in_learned, in_rate)

    return at


def tesla_replay(student: Student, outer: Outer, theta: Tree, learned: Tree, rate: Array, items: Tree) -> Unrolled:
    """TESLA's estimate from two trainings. Its sums commute, so the second pass runs forward and stores nothing."""
    end, _ = jax.lax.scan(lambda t, item: (descend_once(student, t, learned, rate, item), None), theta, items)
    value, last = jax.value_and_grad(outer)(end)

    def again(carry: tuple[Tree, Tree, Array], item: Tree) -> tuple[tuple[Tree, Tree, Array], None]:
        theta, in_learned, in_rate = carry
        pulled = _pull(student, theta, learned, item, last)
        theta = jax.tree.map(lambda p, g: p - rate * g, theta, pulled.gradient)
        in_learned = jax.tree.map(lambda total, g: total - rate * g, in_learned, pulled.learned)
        return (theta, in_learned, in_rate - pulled.slope), None

    start = (theta, optax.tree.zeros_like(learned), jnp.zeros_like(rate))
    (_, in_learned, in_rate), _ = jax.lax.scan(again, start, items)
    return Unrolled(value, end, in_learned, in_rate)


HYPERGRADIENTS: dict[str, Callable[[str], Hypergradient]] = {  # name -> (remat) -> hypergradient
    "exact": exact,
    "adjoint": lambda remat: recursion(frozen=False),
    "tesla": lambda remat: recursion(frozen=True),
    "tesla_replay": lambda remat: tesla_replay,
}
