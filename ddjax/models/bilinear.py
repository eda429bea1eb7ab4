"""Convolution and its kernel gradient as two primitives, each of them the derivative of the other.

Both are bilinear, so their tangents are themselves, and their transposes are each other: whatever is differentiated,
as often and in whichever mode, only these two are computed. Their batching rules never form grouped convolutions,
which a CPU computes several times slower than one convolution after the other.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.typing import ArrayLike
from jaxtyping import Array

from ddjax.models import cpu_conv
from ddjax.models.cpu_conv import Padding, adjoint_padding, rotate

convolution_p = Primitive("ddjax_convolution")
kernel_gradient_p = Primitive("ddjax_kernel_gradient")


def convolution(x: ArrayLike, kernel: ArrayLike, *, padding: Padding) -> Array:
    """[n h w c], [kh kw c o] -> [n h2 w2 o] at stride 1; no padding is negative or as large as the kernel."""
    return convolution_p.bind(x, kernel, padding=padding)


def kernel_gradient(x: ArrayLike, g: ArrayLike, *, padding: Padding) -> Array:
    """[n h w c], [n h2 w2 o] -> [kh kw c o], the gradient of <convolution(x, kernel), g>."""
    return kernel_gradient_p.bind(x, g, padding=padding)


def _abstract_convolution(x: Any, kernel: Any, *, padding: Padding) -> Any:
    size = cpu_conv.output_size(x.shape, kernel.shape, padding)
    return jax.core.ShapedArray((x.shape[0], *size, kernel.shape[3]), x.dtype)


def _abstract_kernel_gradient(x: Any, g: Any, *, padding: Padding) -> Any:
    return jax.core.ShapedArray(cpu_conv.kernel_shape(x.shape, g.shape, padding), x.dtype)


def _adjoint(g: ArrayLike, kernel: Array, *, padding: Padding) -> Array:
    return convolution(g, rotate(kernel), padding=adjoint_padding(padding, kernel.shape))


def _front(array: Array, dim: int | None) -> Array:
    return array if dim is None else jnp.moveaxis(array, dim, 0)


def _mapped(function: Any, arrays: Sequence[Array], dims: Sequence[int | None]) -> tuple[Array, int]:
    arrays = [_front(array, dim) for array, dim in zip(arrays, dims, strict=True)]
    batched = tuple(a for a, dim in zip(arrays, dims, strict=True) if dim is not None)

    def one(members: tuple[Array, ...]) -> Array:
        rest = iter(members)
        return function(*(a if dim is None else next(rest) for a, dim in zip(arrays, dims, strict=True)))

    return lax.map(one, batched), 0


def _batch_convolution(arrays: Sequence[Array], dims: Sequence[int | None], *, padding: Padding) -> Any:
    x, kernel = arrays
    if dims[1] is not None:
        return _mapped(functools.partial(convolution, padding=padding), arrays, dims)
    x = _front(x, dims[0])
    y = convolution(x.reshape(-1, *x.shape[2:]), kernel, padding=padding)
    return y.reshape(*x.shape[:2], *y.shape[1:]), 0


def _batch_kernel_gradient(arrays: Sequence[Array], dims: Sequence[int | None], *, padding: Padding) -> Any:
    return _mapped(functools.partial(kernel_gradient, padding=padding), arrays, dims)


for primitive, function, abstract, batch in (
    (convolution_p, cpu_conv.convolve, _abstract_convolution, _batch_convolution),
    (kernel_gradient_p, cpu_conv.kernel_gradient, _abstract_kernel_gradient, _batch_kernel_gradient),
):
    primitive.def_impl(jax.jit(function, static_argnames="padding"))
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False))
    batching.primitive_batchers[primitive] = batch

ad.defbilinear(
    convolution_p,
    lambda ct, x, kernel, *, padding: _adjoint(ct, kernel, padding=padding),
    lambda ct, x, kernel, *, padding: kernel_gradient(x, ct, padding=padding),
)
ad.defbilinear(
    kernel_gradient_p,
    lambda ct, x, g, *, padding: _adjoint(g, ct, padding=padding),
    lambda ct, x, g, *, padding: convolution(x, ct, padding=padding),
)
