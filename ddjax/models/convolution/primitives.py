"""Convolution and its kernel gradient as two primitives, each the derivative of the other.

Both are bilinear: their tangents are themselves, and their transposes are each other. Every derivative of any order
and mode therefore consists of these two. Their batching rules never form grouped convolutions, which a CPU computes
several times slower than single ones: a stack of kernels, or of images and output gradients, is passed on as it is.
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

from ddjax.models.convolution import cpu as cpu_conv
from ddjax.models.convolution.cpu import rotate
from ddjax.models.convolution.padding import Padding, adjoint_padding, kernel_shape, output_size

convolution_p = Primitive("ddjax_convolution")
kernel_gradient_p = Primitive("ddjax_kernel_gradient")


def convolution(x: ArrayLike, kernel: ArrayLike, *, padding: Padding) -> Array:
    """[n h w c], [kh kw c o] -> [n h2 w2 o] at stride 1; no padding is negative or as large as the kernel.

    A stack of kernels [m kh kw c o] gives a stack of outputs; images are a stack [m n h w c], or shared by all members.
    """
    return convolution_p.bind(x, kernel, padding=padding)


def kernel_gradient(x: ArrayLike, g: ArrayLike, *, padding: Padding) -> Array:
    """[n h w c], [n h2 w2 o] -> [kh kw c o], the gradient of <convolution(x, kernel), g>; a stack if x or g is one."""
    return kernel_gradient_p.bind(x, g, padding=padding)


def _abstract_convolution(x: Any, kernel: Any, *, padding: Padding) -> Any:
    size = output_size(x.shape, kernel.shape, padding)
    return jax.core.ShapedArray((*kernel.shape[:-4], x.shape[-4], *size, kernel.shape[-1]), x.dtype)


def _abstract_kernel_gradient(x: Any, g: Any, *, padding: Padding) -> Any:
    stack = x.shape[:-4] or g.shape[:-4]
    return jax.core.ShapedArray((*stack, *kernel_shape(x.shape, g.shape, padding)), x.dtype)


def _to_images(ct: Any, x: Any, kernel: Array, *, padding: Padding) -> Array:
    return _shared(convolution(ct, rotate(kernel), padding=adjoint_padding(padding, kernel.shape)), x)


def _to_outputs(ct: Any, x: Array, g: Any, *, padding: Padding) -> Array:
    return _shared(convolution(x, ct, padding=padding), g)


def _shared(stack: Array, argument: Any) -> Array:
    # the gradient of an argument that all members of a stack share is the sum over members
    return stack.sum(0) if stack.ndim > argument.aval.ndim else stack


def _front(array: Array, dim: int | None) -> Array:
    return array if dim is None else jnp.moveaxis(array, dim, 0)


def _batch(primitive: Primitive, arrays: Sequence[Array], dims: Sequence[int | None], *, padding: Padding) -> Any:
    bind, batched = functools.partial(primitive.bind, padding=padding), [dim is not None for dim in dims]
    arrays = [_front(array, dim) for array, dim in zip(arrays, dims, strict=True)]
    x, second = arrays
    if any(array.ndim - over == 5 for array, over in zip(arrays, batched, strict=True)):
        # a stack of stacks: one after the other
        taken = [array for array, over in zip(arrays, batched, strict=True) if over]

        def of_each(each: Sequence[Array]) -> Array:
            rest = iter(each)
            return bind(*(next(rest) if over else array for array, over in zip(arrays, batched, strict=True)))

        return lax.map(of_each, taken), 0
    if primitive is convolution_p and not batched[1]:  # more images
        y = bind(x.reshape(-1, *x.shape[2:]), second)
        return y.reshape(*x.shape[:2], *y.shape[1:]), 0
    return bind(x, second), 0


for primitive, function, abstract in (
    (convolution_p, cpu_conv.convolve, _abstract_convolution),
    (kernel_gradient_p, cpu_conv.kernel_gradient, _abstract_kernel_gradient),
):
    primitive.def_impl(jax.jit(function, static_argnames="padding"))
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False))
    batching.primitive_batchers[primitive] = functools.partial(_batch, primitive)

ad.defbilinear(
    convolution_p,
    _to_images,
    lambda ct, x, kernel, *, padding: kernel_gradient(x, ct, padding=padding),
)
ad.defbilinear(
    kernel_gradient_p,
    lambda ct, x, g, *, padding: _to_images(g, x, ct, padding=padding),
    _to_outputs,
)
