"""Computation on a few images at a time, so that intermediate results stay in the cache, also for stacks of images.

A stack has one leading axis, its members. Members are sliced out and written back a few images at a time. `lax.map`
would slice whole members, and write each of them once more on input and on output.
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
    """The number of images per piece, `most` at most: a divisor of n near it, or a number that needs padding."""
    most = max(1, min(n, most))
    for count in range(most, most // 2, -1):
        if n % count == 0:
            return count
    return -(-n // -(-n // most))


def members(*arrays: Array) -> int:
    """The number of members of a stack; 0 if no array is a stack."""
    return next((len(array) for array in arrays if array.ndim == 5), 0)


def taken(count: int, maps: Stack) -> Callable[..., Maps]:
    """A function (i, member) -> the i-th piece of `count` images, padded with zeros at the end.

    Pieces are sliced inside a loop: XLA would recompute an array that is reshaped for the loop, with everything fused
    into it.
    """
    missing = -maps.shape[-4] % count
    maps = jnp.pad(maps, [(0, 0)] * (maps.ndim - 4) + [(0, missing)] + [(0, 0)] * 3) if missing else maps

    def take(i: Array | int, member: Array | int = 0) -> Maps:
        if maps.ndim == 4:
            return maps if count == len(maps) else lax.dynamic_slice_in_dim(maps, i * count, count)
        return lax.dynamic_slice(maps, (member, i * count, 0, 0, 0), (1, count, *maps.shape[2:]))[0]

    return take


def summed(gradient: Callable[[Maps, Outputs], Array], count: int, x: Stack, g: StackedOutputs) -> Kernels:
    """The sum of `gradient` over all images, `count` images at a time; for stacks, one sum per member."""
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
    """`function(images, prepare(kernel))` for `count` images at a time; one result per member of a stack of kernels."""
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
