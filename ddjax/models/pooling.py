"""2x2 pooling: maxima, and means whose gradient is a copy.

Slices are the fastest way to add pixels but have scattered gradients; with reductions it is the opposite. The mean and
its adjoint are therefore two primitives, each the transpose of the other. For a TPU, both are sums over windows: slices
would change the layout of all maps, which takes its compiler and the program longer.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

Maps = Float[Array, "n h w c"]
Halved = Float[Array, "n h2 w2 c"]
Size = tuple[int, int]  # of the maps before pooling


def average_pool(x: Maps) -> Halved:
    """2x2 means with stride 2; an odd last row or column is dropped."""
    _check(x)
    return pool_p.bind(x, size=x.shape[1:3])


def max_pool(x: Maps) -> Halved:
    """2x2 maxima with stride 2; an odd last row or column is dropped, and equal maxima share the gradient."""
    _check(x)
    a, b, c, d = _quarters(x)
    return jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))


def _check(x: Array) -> None:
    if min(x.shape[1:3]) < 2:
        raise ValueError(
            f"a map of {x.shape[1]}x{x.shape[2]} pixels cannot be pooled by 2: the images are too small for this "
            "network; use larger images or a shallower network"
        )


def _quarters(x: Array) -> tuple[Array, Array, Array, Array]:
    # the four pixels of each block as four maps; slices of a merged axis are faster than strided slices
    n, h, w, c = x.shape
    blocks = x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2 * c)
    top, bottom = blocks[:, :, 0], blocks[:, :, 1]
    return top[..., :c], top[..., c:], bottom[..., :c], bottom[..., c:]


def _pool(x: Array, *, size: Size) -> Array:
    a, b, c, d = _quarters(x)
    return (a + b + c + d) / 4


def _spread(y: Array, *, size: Size) -> Array:
    n, h, w, c = y.shape
    x = jnp.broadcast_to((y / 4)[:, :, None, :, None], (n, h, 2, w, 2, c)).reshape(n, 2 * h, 2 * w, c)
    odd = ((0, size[0] - 2 * h), (0, size[1] - 2 * w))
    return x if odd == ((0, 0), (0, 0)) else jnp.pad(x, ((0, 0), *odd, (0, 0)))


def _sums(x: Array, strides: Size) -> Array:
    zero = jnp.zeros((), x.dtype)
    return lax.reduce_window(x, zero, lax.add, (1, 2, 2, 1), (1, *strides, 1), "VALID")


def _pool_tpu(x: Array, *, size: Size) -> Array:
    return _sums(x, (2, 2)) / 4


def _spread_tpu(y: Array, *, size: Size) -> Array:
    # between zeros, each window of two pixels holds one pixel of y
    sides = [(1, 1 + whole - 2 * half, 1) for whole, half in zip(size, y.shape[1:3], strict=True)]
    return _sums(lax.pad(y / 4, jnp.zeros((), y.dtype), ((0, 0, 0), *sides, (0, 0, 0))), (1, 1))


def _batch(primitive: Primitive, arrays: Sequence[Array], dims: Sequence[int], *, size: Size) -> tuple[Array, int]:
    x = jnp.moveaxis(arrays[0], dims[0], 0)
    y = primitive.bind(x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), size=size)
    return y.reshape(*x.shape[:2], *y.shape[1:]), 0


def _linear(
    name: str, function: Callable[..., Array], tpu: Callable[..., Array], shape: Callable[[Any, Size], Size]
) -> Primitive:
    primitive = Primitive(name)
    primitive.def_impl(jax.jit(function, static_argnames="size"))
    primitive.def_abstract_eval(
        lambda x, *, size: jax.core.ShapedArray((x.shape[0], *shape(x, size), x.shape[3]), x.dtype)
    )
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(tpu, multiple_results=False), platform="tpu")
    batching.primitive_batchers[primitive] = functools.partial(_batch, primitive)
    return primitive


pool_p = _linear("ddjax_average_pool", _pool, _pool_tpu, lambda x, size: (size[0] // 2, size[1] // 2))
spread_p = _linear("ddjax_average_spread", _spread, _spread_tpu, lambda y, size: size)
ad.deflinear2(pool_p, lambda ct, x, *, size: [spread_p.bind(ct, size=size)])
ad.deflinear2(spread_p, lambda ct, y, *, size: [pool_p.bind(ct, size=size)])
