"""Benchmark of a ConvNet-3 on 32x32x3 images, at each order of differentiation that distillation uses."""

import statistics
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ddjax import trees
from ddjax.models import build
from ddjax.types import Model
from experiments.benchmarks.measure import Call, Entry, Settings, compiled, in_turn, measure, times
from experiments.benchmarks.plain import plain_convnet

MEMBERS = 3  # sets of weights in `vmapped`
STEPS = 4  # of the loops in `loop_gradient`
ORDERS = {"forward": 1, "gradient": 3, "second": 6, "jvp": 2}  # FLOPs, in forward passes


def forward_gflop(width: int, batch: int) -> float:
    """GFLOP of the three convolutions: 32x32 from 3 channels, 16x16 and 8x8 from `width`."""
    return 2 * 9 * batch * width * (32**2 * 3 + 16**2 * width + 8**2 * width) / 1e9


def conv(settings: Settings) -> Iterator[Entry]:
    """Measure forward, gradient, second, jvp, vmapped, and `loop_gradient`, which is gradient descent inside a scan.

    `native_` entries use XLA's convolution. `flax_` entries also use Flax's norm and pooling. They are measured in turn
    with the network of ddjax, and `ratio` is their time relative to it.
    """
    networks = {"": build("convnet", (32, 32, 3), 10, width=settings.width, depth=3)}
    if settings.native:
        networks["native_"] = plain_convnet(settings.width, quick=True)
        networks["flax_"] = plain_convnet(settings.width, quick=False)
    batch = settings.batch or 128
    gflop = forward_gflop(settings.width, batch)
    for name, forwards in ORDERS.items():
        calls = {prefix + name: call(name, model, batch) for prefix, model in networks.items()}
        yield from in_turn(calls, forwards * gflop, settings.repeats)
    if not settings.parts:
        return
    networks.pop("flax_", None)
    if settings.width > 32:
        networks.pop("native_", None)  # the rest takes minutes
    for prefix, model in networks.items():
        alone, together = call("gradient", model, batch), call("vmapped", model, batch)
        rounds = zip(*times([alone, together], settings.repeats), strict=True)
        ratio = statistics.median(vmapped / (MEMBERS * serial) for serial, vmapped in rounds)
        yield measure(f"{prefix}vmapped", together, 3 * MEMBERS * gflop, settings.repeats, ratio=ratio)
    calls = {f"{prefix}loop_gradient": call("loop_gradient", model, batch) for prefix, model in networks.items()}
    # few repeats, because XLA's convolution takes many seconds per call
    yield from in_turn(calls, 3 * STEPS * gflop, min(3, settings.repeats))


def call(name: str, model: Model, batch: int) -> Call:
    """A compiled program for one of the names of `conv`, with its arguments."""
    params, images, targets = problem(model, batch)
    direction = jax.tree.map(lambda p: 0.1 * p, params)

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

    programs = {
        "forward": lambda: compiled(model.apply, params, images),
        "gradient": lambda: compiled(gradient, params, images),
        "second": lambda: compiled(second, params, images, direction),
        "jvp": lambda: compiled(jvp, params, images, direction),
        "vmapped": lambda: compiled(jax.vmap(gradient, (0, None)), trees.stack([params] * MEMBERS), images),
        "loop_gradient": lambda: compiled(descend, params, images),
    }
    return programs[name]()


def problem(model: Model, batch: int) -> tuple[Any, Any, Any]:
    """Parameters, random images and one-hot targets."""
    key, image_key = jax.random.split(jax.random.key(0))
    targets = jax.nn.one_hot(jnp.arange(batch) % 10, 10)
    return model.init(key), jax.random.normal(image_key, (batch, 32, 32, 3)), targets
