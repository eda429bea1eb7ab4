"""How exactly products are computed: full float32 on every backend, unless less is asked for by name.

An accelerator's own default is shorter: a TPU rounds factors to bfloat16, a recent GPU to TensorFloat-32. Less is
asked for with `jax.default_matmul_precision("tensorfloat32")` or "bfloat16", around whatever is called. Kernel
matrices and solves do not ask here: see `ddjax.kernels.gram`.
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
    """The precision of products here, as `lax` takes it."""
    return jax.config.jax_default_matmul_precision or "highest"


def fastest() -> str:
    """The name of the shortest factors that gain speed on this backend."""
    return FASTEST.get(jax.default_backend(), "float32")


def product(a: Array, b: Array) -> Array:
    """`a @ b` in the precision asked for."""
    return jnp.matmul(a, b, precision=asked())
