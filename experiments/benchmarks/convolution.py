"""A ConvNet-3 on 32x32x3 images at every order of differentiation that distillation uses."""

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ddjax import trees
from ddjax.models import build
from ddjax.types import Model
from experiments.benchmarks.measure import Entry, Settings, compiled, measure, times
from experiments.benchmarks.plain import plain_convnet

MEMBERS = 3  # sets of weights in `vmapped`
STEPS = 4  # of the loops in `loop_gradient`


def forward_gflop(width: int, batch: int) -> float:
    """Of the three convolutions: 32x32 from 3 channels, 16x16 and 8x8 from `width`."""
    return 2 * 9 * batch * width * (32**2 * 3 + 16**2 * width + 8**2 * width) / 1e9


def conv(settings: Settings) -> Iterator[Entry]:
    """Forward, gradient, second, jvp and vmapped.

    `native_` entries are of the same network with XLA's convolution, `flax_` ones with Flax's norm and pooling too.
    """
    yield from orders("", build("convnet", (32, 32, 3), 10, width=settings.width, depth=3), settings)
    if settings.native:
        yield from orders("native_", plain_convnet(settings.width, quick=True), settings)
        yield from orders("flax_", plain_convnet(settings.width, quick=False), settings)


def orders(prefix: str, model: Model, settings: Settings) -> Iterator[Entry]:
    """The entries of one network. FLOPs count 1, 3, 6, 2 and 9 forward passes.

    `loop_gradient` is descent inside a scan, where all training happens: three forward passes a step.
    """
    batch, repeats = settings.batch or 128, settings.repeats
    params, images, targets = problem(model, batch)
    direction = jax.tree.map(lambda p: 0.1 * p, params)
    gflop = forward_gflop(settings.width, batch)

    def loss(params: Any, images: Any) -> Any:
        return optax.softmax_cross_entropy(model.apply(params, images), targets).mean()

    gradient = jax.grad(loss)

    def second(params: Any, images: Any, direction: Any) -> Any:
        return jax.grad(lambda images: optax.tree.vdot(gradient(params, images), direction))(images)

    def jvp(params: Any, images: Any, direction: Any) -> Any:
        return jax.jvp(lambda params: model.apply(params, images), (params,), (direction,))

    def descend(params: Any, images: Any) -> Any:
        def step(params: Any, _: None) -> tuple[Any, None]:
            return jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradient(params, images)), None

        return jax.lax.scan(step, params, length=STEPS)[0]

    def timed(name: str, function: Callable[..., Any], factor: int, *arguments: Any) -> Entry:
        return measure(prefix + name, compiled(function, *arguments), factor * gflop, repeats)

    yield timed("forward", model.apply, 1, params, images)
    yield timed("gradient", gradient, 3, params, images)
    yield timed("second", second, 6, params, images, direction)
    yield timed("jvp", jvp, 2, params, images, direction)
    if prefix == "flax_" or (prefix and settings.width > 32):
        return  # the rest takes minutes
    stacked = trees.stack([params] * MEMBERS)
    one = compiled(gradient, params, images)
    together = compiled(jax.vmap(gradient, (0, None)), stacked, images)
    alone, vmapped = (statistics.median(seconds) for seconds in times([one, together], repeats))
    yield measure(f"{prefix}vmapped", together, 3 * MEMBERS * gflop, repeats, ratio=vmapped / (MEMBERS * alone))
    yield timed("loop_gradient", descend, 3 * STEPS, params, images)


def problem(model: Model, batch: int) -> tuple[Any, Any, Any]:
    """Parameters, random images and one-hot targets."""
    key, image_key = jax.random.split(jax.random.key(0))
    targets = jax.nn.one_hot(jnp.arange(batch) % 10, 10)
    return model.init(key), jax.random.normal(image_key, (batch, 32, 32, 3)), targets
