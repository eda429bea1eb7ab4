"""Instance norm as one multiplication and one addition per pixel, with a variance that does not cancel."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

Maps = Float[Array, "n h w c"]
Channels = Float[Array, "c"]


def standardize(x: Maps, scale: Channels, bias: Channels, epsilon: float = 1e-5) -> Maps:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, per image and channel, with biased variances.

    Statistics are computed in at least float32.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    factor = lax.rsqrt(variance(wide) + epsilon) * scale.reshape(1, 1, 1, -1)
    return (wide * factor + (bias.reshape(1, 1, 1, -1) - _mean(wide) * factor)).astype(x.dtype)


@jax.custom_jvp
def variance(x: Maps) -> Float[Array, "n 1 1 c"]:
    """E[(x - E[x])^2] per image and channel. E[x^2] - E[x]^2 would cancel on nearly constant maps."""
    return jnp.square(x - _mean(x)).mean((1, 2), keepdims=True)


@variance.defjvp
def _variance_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # 2 Cov(x, dx), in the form whose transpose is one multiplication and one addition per pixel of x; other forms need
    # the deviations, which would have to be kept or recomputed
    (x,), (dx,) = primals, tangents
    covariance = (x * dx).mean((1, 2), keepdims=True) - _mean(x) * _mean(dx)
    return variance(x), 2 * covariance


def _mean(x: Maps) -> Array:
    return x.mean((1, 2), keepdims=True)


class InstanceNorm(nn.Module):
    """`standardize` with a learned scale and bias per channel."""

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        """[n h w c] -> the same shape."""
        scale = self.param("scale", jax.nn.initializers.ones, x.shape[-1:], jnp.float32)
        bias = self.param("bias", jax.nn.initializers.zeros, x.shape[-1:], jnp.float32)
        return standardize(*nn.dtypes.promote_dtype(x, scale, bias))
