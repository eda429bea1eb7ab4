"""Precision of matrix products: float32 on every backend, unless `jax.default_matmul_precision` sets another one.

The default of an accelerator is lower: a TPU rounds factors to bfloat16, and a recent GPU to TensorFloat-32. A caller
chooses it with `jax.default_matmul_precision("tensorfloat32")` or "bfloat16". Kernel matrices and solves always use
float32; see `ddjax.kernels.gram`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

if hasattr(jax, "enable_x64"):
    enable_x64 = jax.enable_x64
else:  # JAX 0.7
    from jax.experimental import enable_x64 as enable_x64

FASTEST = {"cpu": "float32", "gpu": "tensorfloat32", "tpu": "bfloat16"}


def asked() -> str:
    """The current precision of products, for the `precision` argument of JAX functions."""
    return jax.config.jax_default_matmul_precision or "highest"


def fastest() -> str:
    """The name of the fastest precision on this backend."""
    return FASTEST.get(jax.default_backend(), "float32")


def product(a: Array, b: Array) -> Array:
    """`a @ b` in the current precision."""
    return jnp.matmul(a, b, precision=asked())
