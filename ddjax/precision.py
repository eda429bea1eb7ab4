"""Precision of products: a named policy for networks, and double precision for single operations.

| policy | bits of the factors | CPU | NVIDIA GPU | TPU |
|---|---|---|---|---|
| float32 | 24 | the default | CUDA cores | six passes |
| tensorfloat32 | 11 | rounded alike, not faster | tensor cores, the default | as bfloat16_3x |
| bfloat16_3x | 16 | rounded alike, not faster | as float32 | three passes |
| bfloat16 | 8 | rounded alike, not faster | as tensorfloat32 | one pass, the default |

Sums are in float32 under every policy, and no platform computes less exactly than the policy says. The policy holds for
convolutions and products of networks. Kernel matrices, solves and whitening are always exact; see `ddjax.kernels.gram`.
"""

import contextlib

import jax

from ddjax.backend import target
from ddjax.names import choose

if hasattr(jax, "enable_x64"):
    enable_x64 = jax.enable_x64
else:  # JAX 0.7
    from jax.experimental import enable_x64 as enable_x64

POLICIES = {"float32": "float32", "tensorfloat32": "tensorfloat32", "bfloat16_3x": "high", "bfloat16": "bfloat16"}
"""policy -> its name in `jax.default_matmul_precision`, which also decides the products of other libraries"""
_ASKED = {name: policy for policy, name in POLICIES.items()} | {"highest": "float32", "default": "bfloat16"}
DEFAULTS = {"cpu": "float32", "gpu": "tensorfloat32", "tpu": "bfloat16"}

_HIGHEST, _HIGH, _DEFAULT = jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGH, jax.lax.Precision.DEFAULT
_LAX = {
    "gpu": {"float32": _HIGHEST, "tensorfloat32": _HIGH, "bfloat16_3x": _HIGHEST, "bfloat16": _DEFAULT},
    "tpu": {"float32": _HIGHEST, "tensorfloat32": _HIGH, "bfloat16_3x": _HIGH, "bfloat16": _DEFAULT},
}


def default() -> str:
    """The policy of the target platform that is in force unless a caller sets another."""
    return DEFAULTS.get(target(), "float32")


def policy(name: str) -> contextlib.AbstractContextManager:
    """A context in which networks are traced under a policy.

    Args:
      name: float32, tensorfloat32, bfloat16_3x or bfloat16.

    Returns:
      The context.

    Raises:
      ValueError: the name is unknown.

    Example:
      >>> with policy("bfloat16_3x"):
      ...     asked()
      'bfloat16_3x'
    """
    return jax.default_matmul_precision(choose(POLICIES, name, "precision"))


def asked() -> str:
    """The policy of the current trace. Presets of dot algorithms are no policy and count as float32."""
    name = jax.config.jax_default_matmul_precision
    return default() if name is None else _ASKED.get(name, "float32")


def of_lax(policy: str, platform: str) -> jax.lax.Precision:
    """The `precision` argument of JAX functions with which a platform computes as exactly as the policy says."""
    return _LAX[platform][policy] if platform in _LAX else _HIGHEST
