"""A few images at a time, so that what is written on the way stays in the cache; and stacks of them without copies.

A stack has one axis more in front, its members. Members are cut out of it, and put back, a few images at a time: taken
whole, as `lax.map` takes them, each would be written once more on its way in and on its way out.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Maps = Float[Array, "n h w c"]
Outputs = Float[Array, "n h2 w2 o"]
Stack = Float[Array, "... n h w c"]  # of maps, or one
StackedOutputs = Float[Array, "... n h2 w2 o"]
Kernels = Float[Array, "... kh kw c o"]


def even(n: int, most: int) -> int:
    """How many images at a time, `most` at most: a divisor of n near that, and with padding where there is none."""
    most = max(1, min(n, most))
    for count in range(most, most // 2, -1):
        if n % count == 0:
            return count
    return -(-n // -(-n // most))


def members(*arrays: Array) -> int:
    """How many a stack has, 0 where nothing is one."""
    return next((len(array) for array in arrays if array.ndim == 5), 0)


def taken(count: int, maps: Stack) -> Callable[..., Maps]:
    """(i, member) -> the i-th `count` images, with zeros where there are none left.

    They are cut out inside of a loop, because an array that is reshaped for one is computed once more for it by XLA,
    with all that was fused into it.
    """
    missing = -maps.shape[-4] % count
    maps = jnp.pad(maps, [(0, 0)] * (maps.ndim - 4) + [(0, missing)] + [(0, 0)] * 3) if missing else maps

    def take(i: Array | int, member: Array | int = 0) -> Maps:
        if maps.ndim == 4:
            return maps if count == len(maps) else lax.dynamic_slice_in_dim(maps, i * count, count)
        return lax.dynamic_slice(maps, (member, i * count, 0, 0, 0), (1, count, *maps.shape[2:]))[0]

    return take


def summed(gradient: Callable[[Maps, Outputs], Array], count: int, x: Stack, g: StackedOutputs) -> Kernels:
    """The sum of `gradient` over images, `count` at a time; for each member of a stack."""
    of_x, of_g, pieces = taken(count, x), taken(count, g), -(-x.shape[-4] // count)

    def one(member: Array | int) -> Array:
        def piece(i: Array | int) -> Array:
            return gradient(of_x(i, member), of_g(i, member))

        if pieces == 1:
            return piece(0)
        shape = jax.eval_shape(piece, 0)
        return lax.fori_loop(0, pieces, lambda i, sum: sum + piece(i), jnp.zeros(shape.shape, shape.dtype))

    most = members(x, g)
    return lax.map(one, jnp.arange(most)) if most else one(0)


def mapped(
    function: Callable[[Maps, Array], Outputs], prepare: Callable[[Array], Array], count: int, x: Stack, kernel: Kernels
) -> StackedOutputs:
    """`function(images, prepare(kernel))` of `count` images at a time; for each member of a stack of kernels."""
    images, n, most = taken(count, x), x.shape[-4], members(kernel)
    pieces = -(-n // count)
    if not most:
        prepared = prepare(kernel)
        if pieces == 1:
            return function(x, prepared)
        y = lax.map(lambda i: function(images(i), prepared), jnp.arange(pieces))
        return y.reshape(-1, *y.shape[2:])[:n]

    def one(index: Array, all: Array) -> Array:
        prepared = prepare(kernel[index])

        def piece(i: Array, all: Array) -> Array:
            y = function(images(i, index), prepared)
            return lax.dynamic_update_slice(all, y[None], (index, i * count, 0, 0, 0))

        return lax.fori_loop(0, pieces, piece, all)

    shape = jax.eval_shape(lambda: function(images(0), prepare(kernel[0])))
    empty = lax.empty((most, pieces * count, *shape.shape[1:]), shape.dtype)
    return lax.fori_loop(0, most, one, empty)[:, :n]
