"""Convolution and its kernel gradient as two primitives, each the derivative of the other.

Both are bilinear: their tangents are themselves, and their transposes are each other. Every derivative of any order
and mode therefore consists of these two. Their batching rules pass on a stack of kernels, or of images and output
gradients, as it is. Each platform has its own lowering: matrix products on a CPU, which computes grouped convolutions
several times slower than single ones, and XLA's own convolution elsewhere.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.typing import ArrayLike
from jaxtyping import Array

from ddjax.backend import target
from ddjax.models.convolution import cpu, xla
from ddjax.models.convolution.cpu import rotate
from ddjax.models.convolution.padding import Padding, adjoint_padding, kernel_shape, output_size

convolution_p = Primitive("ddjax_convolution")
kernel_gradient_p = Primitive("ddjax_kernel_gradient")


def convolution(x: ArrayLike, kernel: ArrayLike, *, padding: Padding, precision: str) -> Array:
    """[n h w c], [kh kw c o] -> [n h2 w2 o] at stride 1; no padding is negative or as large as the kernel.

    A stack of kernels [m kh kw c o] gives a stack of outputs; images are a stack [m n h w c], or shared by all members.
    """
    return convolution_p.bind(x, kernel, padding=padding, precision=precision)


def kernel_gradient(x: ArrayLike, g: ArrayLike, *, padding: Padding, precision: str) -> Array:
    """[n h w c], [n h2 w2 o] -> [kh kw c o], the gradient of <convolution(x, kernel), g>; a stack if x or g is one."""
    return kernel_gradient_p.bind(x, g, padding=padding, precision=precision)


def _abstract_convolution(x: Any, kernel: Any, *, padding: Padding, precision: str) -> Any:
    size = output_size(x.shape, kernel.shape, padding)
    return jax.core.ShapedArray((*kernel.shape[:-4], x.shape[-4], *size, kernel.shape[-1]), x.dtype)


def _abstract_kernel_gradient(x: Any, g: Any, *, padding: Padding, precision: str) -> Any:
    stack = x.shape[:-4] or g.shape[:-4]
    return jax.core.ShapedArray((*stack, *kernel_shape(x.shape, g.shape, padding)), x.dtype)


def _to_images(ct: Any, x: Any, kernel: Array, *, padding: Padding, precision: str) -> Array:
    adjoint = adjoint_padding(padding, kernel.shape)
    return _shared(convolution(ct, rotate(kernel), padding=adjoint, precision=precision), x)


def _to_outputs(ct: Any, x: Array, g: Any, *, padding: Padding, precision: str) -> Array:
    return _shared(convolution(x, ct, padding=padding, precision=precision), g)


def _shared(stack: Array, argument: Any) -> Array:
    # the gradient of an argument that all members of a stack share is the sum over members
    return stack.sum(0) if stack.ndim > argument.aval.ndim else stack


def _front(array: Array, dim: int | None) -> Array:
    return array if dim is None else jnp.moveaxis(array, dim, 0)


def _batch(primitive: Primitive, arrays: Sequence[Array], dims: Sequence[int | None], **options: Any) -> Any:
    bind, batched = functools.partial(primitive.bind, **options), [dim is not None for dim in dims]
    arrays = [_front(array, dim) for array, dim in zip(arrays, dims, strict=True)]
    x, second = arrays
    if any(array.ndim - over == 5 for array, over in zip(arrays, batched, strict=True)):
        if target() != "cpu":
            return _stack_of_stacks(bind, arrays, batched), 0
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


def _stack_of_stacks(bind: Callable[..., Array], arrays: Sequence[Array], batched: Sequence[bool]) -> Array:
    # as one stack of all members; what some of them share is copied
    arrays = [array if over else array[None] for array, over in zip(arrays, batched, strict=True)]
    arrays = [array if array.ndim == 6 else array[:, None] for array in arrays]
    outer, inner = (max(array.shape[axis] for array in arrays) for axis in (0, 1))
    merged = [jnp.broadcast_to(a, (outer, inner, *a.shape[2:])).reshape(-1, *a.shape[2:]) for a in arrays]
    y = bind(*merged)
    return y.reshape(outer, inner, *y.shape[1:])


def _compiled(program: Callable[..., Array]) -> Callable[..., Array]:
    def run(*arrays: Array, **options: Any) -> Array:
        with jax.disable_jit(False):  # the compiled program is the only definition of a primitive's value
            return program(*arrays, **options)

    return run


for primitive, name, abstract in (
    (convolution_p, "convolve", _abstract_convolution),
    (kernel_gradient_p, "kernel_gradient", _abstract_kernel_gradient),
):
    primitive.def_impl(_compiled(jax.jit(primitive.bind, static_argnames=("padding", "precision"))))
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, mlir.lower_fun(getattr(cpu, name), multiple_results=False), platform="cpu")
    for platform in ("gpu", "tpu"):
        lowering = mlir.lower_fun(functools.partial(getattr(xla, name), platform=platform), multiple_results=False)
        # XLA's convolution is also that of any platform without a lowering of its own
        mlir.register_lowering(primitive, lowering, platform=None if platform == "gpu" else platform)
    batching.primitive_batchers[primitive] = functools.partial(_batch, primitive)

ad.defbilinear(
    convolution_p,
    _to_images,
    lambda ct, x, kernel, **options: kernel_gradient(x, ct, **options),
)
ad.defbilinear(
    kernel_gradient_p,
    lambda ct, x, g, **options: _to_images(g, x, ct, **options),
    _to_outputs,
)
