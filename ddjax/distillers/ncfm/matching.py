"""Characteristic functions of features, their distance, and the network that samples their frequencies."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddjax.distillers.ncfm.config import NcfmConfig
from ddjax.models.convolution.conv import product
from ddjax.trees import record
from ddjax.types import PRNGKey

REPEATED = 16  # times that the published sampling network repeats each frequency
LAYERS = 3
_SLOPE, _MOMENTUM, _TINY = 0.2, 0.5, 1e-5


class Characteristic(NamedTuple):
    """Values E exp(i t x) of a characteristic function at frequencies t."""

    real: Float[Array, "f"]
    imaginary: Float[Array, "f"]


def characteristic(
    features: Float[Array, "b d"], weights: Float[Array, "b"], points: Float[Array, "f d"]
) -> Characteristic:
    """The empirical characteristic function of weighted rows; the weights sum to one."""
    angles = product(features, points.T)
    return Characteristic(product(weights, jnp.cos(angles)), product(weights, jnp.sin(angles)))


def distance(one: Characteristic, other: Characteristic, amplitude: float, phase: float) -> Float[Array, ""]:
    """Mean over frequencies of sqrt(amplitude (|a| - |b|)^2 + phase (2 |a| |b| - 2 Re a conj(b))).

    The second term is |a - b|^2 - (|a| - |b|)^2. In this form equal functions have the distance zero exactly.
    """
    apart = (one.real - other.real) ** 2 + (one.imaginary - other.imaginary) ** 2
    lengths = [_root(f.real**2 + f.imaginary**2) for f in (one, other)]
    return jnp.mean(_root(phase * apart + (amplitude - phase) * (lengths[0] - lengths[1]) ** 2))


def _root(squares: Float[Array, "f"]) -> Float[Array, "f"]:
    """Square roots with derivative zero at zero, where that of the square root is infinite."""
    positive = squares > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1)), 0)


@record(static=("width",))
class Sampler:
    """The sampling network and its velocity; both are empty for Gaussian frequencies."""

    weights: Any
    velocity: Any
    width: int  # of the features


def sampler(config: NcfmConfig, key: PRNGKey, width: int) -> Sampler:
    """The sampling network: three layers with batch norm, initialised as in PyTorch."""
    if config.sampler == "gaussian":
        return Sampler(weights={}, velocity={}, width=width)
    bound, weights = width**-0.5, {}
    for layer in range(LAYERS):
        kernel_key, bias_key = jax.random.split(jax.random.fold_in(key, layer))
        weights[f"layer_{layer}"] = {
            "kernel": jax.random.uniform(kernel_key, (width, width), minval=-bound, maxval=bound),
            "bias": jax.random.uniform(bias_key, (width,), minval=-bound, maxval=bound),
            "scale": jnp.ones(width),
            "shift": jnp.zeros(width),
        }
    return Sampler(weights=weights, velocity=jax.tree.map(jnp.zeros_like, weights), width=width)


def frequencies(config: NcfmConfig, weights: Any, key: PRNGKey, width: int) -> Float[Array, "f d"]:
    """Standard normal frequencies, or those that the sampling network makes of normal noise, in -1..1."""
    if config.sampler == "gaussian":
        return jax.random.normal(key, (config.frequencies, width))
    x = jax.random.normal(key, (-(-config.frequencies // REPEATED), width))
    for layer in range(LAYERS):
        part = weights[f"layer_{layer}"]
        x = product(x, part["kernel"]) + part["bias"][None]
        deviation = jnp.sqrt(x.var(axis=0, keepdims=True) + _TINY)
        x = (x - x.mean(axis=0, keepdims=True)) / deviation * part["scale"][None] + part["shift"][None]
        x = jnp.tanh(x) if layer == LAYERS - 1 else jax.nn.leaky_relu(x, _SLOPE)
    return x


def ascend(config: NcfmConfig, sampler: Sampler, gradient: Any) -> Sampler:
    """One step of momentum SGD of the sampling network, up the gradient of the distance."""
    decay, rate = config.weight_decay, config.sampler_rate
    velocity = jax.tree.map(lambda v, g, w: _MOMENTUM * v - g + decay * w, sampler.velocity, gradient, sampler.weights)
    weights = jax.tree.map(lambda w, v: w - rate * v, sampler.weights, velocity)
    return Sampler(weights=weights, velocity=velocity, width=sampler.width)
