"""The products in a network's forward pass, and the number of their operations, from its jaxpr."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from ddjax.bilevel.unrolled_descent import PRODUCTS
from ddjax.models.specification import equations
from ddjax.types import Model


@functools.lru_cache(maxsize=64)
def forward_flop(model: Model, image_shape: tuple[int, ...]) -> float:
    """Multiplications and additions in convolutions and matrix products, for one image."""
    each = products(model, image_shape)
    return float(sum(2 * math.prod(e.outvars[0].aval.shape) * _summed_over(e) for e in each))


def products(model: Model, image_shape: tuple[int, ...]) -> Iterator[Any]:
    """The equations of all convolutions and matrix products, for one image."""
    params = jax.eval_shape(model.init, jax.random.key(0))
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    return (e for e in equations(jax.make_jaxpr(model.apply)(params, image)) if e.primitive.name in PRODUCTS)


def _summed_over(equation: Any) -> int:
    """Number of products that are summed for each output."""
    left, right = (variable.aval.shape for variable in equation.invars[:2])
    if equation.primitive.name == "dot_general":
        return math.prod(left[axis] for axis in equation.params["dimension_numbers"][0][0])
    return math.prod(right) // right[-1]  # kernels are [h w in out]
