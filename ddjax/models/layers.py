"""The layers of the networks: convolution, norms, activations, pooling and head, chosen by name."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.nn import initializers
from jaxtyping import Array, Float

from ddjax import names
from ddjax.models.convolution.conv import conv2d, product
from ddjax.models.instance_norm import InstanceNorm
from ddjax.models.pooling import average_pool, max_pool
from ddjax.ranges import Positive, Share

Maps = Float[Array, "n h w c"]
Others = Float[Array, "n h2 w2 c2"]  # maps of another size, of the same images
Present = Float[Array, "n"] | None  # 1 for a real image, 0 for padding; None is test mode
Output = tuple[Float[Array, "n k"], Float[Array, "n d"]]  # logits, and the features that the last layer read
_TINY = 1e-12  # length of a row that counts as zero


@dataclasses.dataclass(frozen=True)
class Style:
    """Options that all layers of a network share.

    Attributes:
      norm: a name of `NORMS`.
      activation: a name of `ACTIVATIONS`.
      beta: the sharpness of softplus, softplus(beta z) / beta; other activations ignore it.
      init: a name of `INITS`.
      batch_momentum: the weight of the old running statistics in a training step of batch norm.
    """

    norm: str = "instance"
    activation: str = "relu"
    beta: Positive = 60.0
    init: str = "torch"
    batch_momentum: Share = 0.9

    def activate(self, x: Array) -> Array:
        """The activation, elementwise."""
        if self.activation == "softplus":
            return softplus(x, self.beta)
        return names.choose(ACTIVATIONS, self.activation, "activation")(x)


class Init(NamedTuple):
    """Initialisers of kernels, and one of biases for a layer that sums `fan_in` products."""

    conv: Callable[..., Array]
    dense: Callable[..., Array]
    bias: Callable[[int], Callable[..., Array]]


def uniform_bias(fan_in: int) -> Callable[..., Array]:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)). An initialiser receives only the bias's shape, hence the closure."""
    bound = 1 / math.sqrt(fan_in)

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def zero_bias(fan_in: int) -> Callable[..., Array]:
    """Zeros for every fan-in."""
    del fan_in
    return initializers.zeros


# kaiming_uniform with a = sqrt(5) is U(-1/sqrt(fan_in), 1/sqrt(fan_in)), that is, variance 1 / (3 fan_in)
_torch_kernel = initializers.variance_scaling(1 / 3, "fan_in", "uniform")

INITS: Mapping[str, Init] = {
    "torch": Init(_torch_kernel, _torch_kernel, uniform_bias),
    "lecun": Init(initializers.lecun_normal(), initializers.lecun_normal(), zero_bias),
    # He et al. 2015 with fan-out for convolutions, PyTorch's default for the last layer
    "he": Init(initializers.variance_scaling(2.0, "fan_out", "normal"), _torch_kernel, uniform_bias),
}


class Conv(nn.Module):
    """A square convolution; with padding None, stride 1 keeps the side of a map.

    An instance norm removes any constant from a map. If one follows (`norm`), the bias is a parameter without effect
    and is not added, which saves the addition and a pass over all maps for its gradient, zero.
    """

    features: int
    size: int = 3
    stride: int = 1
    padding: int | None = None
    use_bias: bool = True
    scheme: str = "torch"  # a name of INITS; `init` is a method of linen modules
    norm: str = "none"  # the norm that directly follows

    @nn.compact
    def __call__(self, x: Maps) -> Others:
        """[n h w c] -> [n h2 w2 features]."""
        init = names.choose(INITS, self.scheme, "init")
        fan_in = self.size**2 * x.shape[-1]
        kernel = self.param("kernel", init.conv, (self.size, self.size, x.shape[-1], self.features), jnp.float32)
        x, kernel = nn.dtypes.promote_dtype(x, kernel)
        pad = self.size // 2 if self.padding is None else self.padding
        y = conv2d(x, kernel, (self.stride, self.stride), ((pad, pad), (pad, pad)))
        if self.use_bias:
            bias = self.param("bias", init.bias(fan_in), (self.features,), jnp.float32)
            y = y if self.norm == "instance" else y + bias.reshape(1, 1, 1, -1)
        return y


def dense(x: Float[Array, "n d"], features: int, style: Style, name: str) -> Float[Array, "n e"]:
    """A fully connected layer with the style's initialisation."""
    init = names.choose(INITS, style.init, "init")
    bias = init.bias(x.shape[-1])
    inits = {"kernel_init": init.dense, "bias_init": bias}
    return nn.Dense(features, **inits, dot_general=lambda x, kernel, *_, **__: product(x, kernel), name=name)(x)


def unit(features: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """Rows of length one. A row of zeros stays, and its gradient is zero."""
    lengths = optax.safe_norm(features, _TINY, axis=-1, keepdims=True)
    return jnp.where(lengths > _TINY, features, 0) / lengths


def classify(x: Array, num_classes: int, style: Style) -> Output:
    """The last layer, called "head" in every network: [n ...] -> logits [n k] and the features [n d] that it reads."""
    features = x.reshape(x.shape[0], math.prod(x.shape[1:]))
    return dense(features, num_classes, style, "head"), features


def refuse_norm(style: Style, network: str) -> None:
    """Raise a ValueError for a norm in a network that has none."""
    if style.norm != "none":
        raise ValueError(f"{network} has no norm; got norm={style.norm!r}: use norm='none'")


def stem_padding(x: Maps, padding: int) -> int:
    """The padding of a first convolution. Grey 28x28 images get two more, which makes them 32x32."""
    return padding + 2 if x.shape[1:] == (28, 28, 1) else padding


# Norms. Variances are computed in two passes: E[x^2] - E[x]^2 cancels on nearly constant maps.


def instance_norm(x: Maps, present: Present, momentum: float, name: str) -> Maps:
    """Normalise each channel of each image, then apply a learned scale and bias per channel."""
    if x.shape[1:3] == (1, 1):
        raise ValueError(
            "instance norm of a 1x1 map is constant: this network is too deep for its images; use larger images, a "
            "shallower network or norm='batch'"
        )
    return InstanceNorm(name=name)(x)


def group_norm(x: Maps, present: Present, momentum: float, name: str) -> Maps:
    """Group norm with four groups of channels, as in the dataset-condensation networks."""
    return nn.GroupNorm(num_groups=4, epsilon=1e-5, use_fast_variance=False, name=name)(x)


def layer_norm(x: Maps, present: Present, momentum: float, name: str) -> Maps:
    """Normalise each image over all pixels and channels, then apply a learned scale and bias per pixel and channel."""
    axes = (1, 2, 3)
    return nn.LayerNorm(epsilon=1e-5, reduction_axes=axes, feature_axes=axes, use_fast_variance=False, name=name)(x)


def batch_norm(x: Maps, present: Present, momentum: float, name: str) -> Maps:
    """Batch norm over the present images in training, and with running statistics (biased variance) in test mode."""
    mask = None if present is None else (present > 0).reshape(-1, 1, 1, 1)
    norm = nn.BatchNorm(present is None, momentum=momentum, epsilon=1e-5, use_fast_variance=False, name=name)
    return norm(x, mask=mask)


def no_norm(x: Maps, present: Present, momentum: float, name: str) -> Maps:
    """The maps unchanged."""
    return x


NORMS: Mapping[str, Callable[[Maps, Present, float, str], Maps]] = {
    "instance": instance_norm,
    "group": group_norm,
    "batch": batch_norm,
    "layer": layer_norm,
    "none": no_norm,
}


def normalize(x: Maps, present: Present, style: Style, name: str) -> Maps:
    """The style's norm."""
    return names.choose(NORMS, style.norm, "norm")(x, present, style.batch_momentum, name)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def softplus(x: Array, beta: float) -> Array:
    """softplus(beta x) / beta. It is above ReLU by at most ln 2 / beta, and its second derivative is not zero."""
    return jax.nn.softplus(beta * x) / beta


@softplus.defjvp
def _softplus_jvp(beta: float, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # one logistic function; the derivative of a logarithm of a sum has an exponential and two selections more
    (x,), (dx,) = primals, tangents
    return softplus(x, beta), jax.nn.sigmoid(beta * x) * dx


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "softplus": softplus,  # with the style's beta
    "leaky": jax.nn.leaky_relu,
    "sigmoid": jax.nn.sigmoid,
}


def no_pool(x: Maps) -> Maps:
    """The maps unchanged."""
    return x


POOLS: Mapping[str, Callable[[Maps], Others]] = {"avg": average_pool, "max": max_pool, "none": no_pool}
