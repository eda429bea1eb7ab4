"""Images per second of training and of test-time passes, on random data of CIFAR-10's shape."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ddjax.models import build
from ddjax.training import Clock, Examples, Recipe, make_trainer, predict
from experiments.benchmarks.convolution import forward_gflop, problem
from experiments.benchmarks.measure import Entry, Settings, compiled, in_turn, measure
from experiments.benchmarks.plain import plain_convnet

STEPS = 3


def train(settings: Settings) -> Iterator[Entry]:
    """Measure an epoch of the trainer in turn with as many steps of plain Flax; ratio is Flax's time over ddjax's."""
    batch = settings.batch or 256
    count = STEPS * batch
    model = build("convnet", (32, 32, 3), 10, width=settings.width, depth=3)
    _, images, targets = problem(model, count)
    trainer = make_trainer(model, Recipe(epochs=1, batch=batch, rate=1e-2))
    state = trainer.init(jax.random.key(0), jnp.float32(1e-2))
    clock = Clock(jnp.int32(0), jax.random.key(0))
    ours = compiled(trainer.epoch, state, Examples(images, targets), clock)
    calls = {"train": ours, "flax_train": flax_loop(settings.width, batch, images, targets)}
    for row in in_turn(calls, 3 * forward_gflop(settings.width, count), settings.repeats):
        yield row | {"images_per_s": count / row["seconds"]}


def flax_loop(width: int, batch: int, images: Any, targets: Any) -> Any:
    """A call that takes steps of optax.sgd on consecutive batches, each a jitted call with donated state."""
    model, optimiser = plain_convnet(width, quick=False), optax.sgd(1e-2)
    params = model.init(jax.random.key(0))

    def loss(params: Any, images: Any, targets: Any) -> Any:
        return optax.softmax_cross_entropy(model.apply(params, images), targets).mean()

    def step(params: Any, opt_state: Any, images: Any, targets: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(params, images, targets)
        updates, opt_state = optimiser.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    step = jax.jit(step, donate_argnums=(0, 1))
    state = [params, optimiser.init(params)]

    def call() -> None:
        for first in range(0, len(images), batch):
            rows = slice(first, first + batch)
            *state[:], value = step(*state, images[rows], targets[rows])
        jax.block_until_ready(value)

    call()
    return call


def evaluate(settings: Settings) -> Iterator[Entry]:
    """Measure logits of images, 500 at a time."""
    count = settings.batch or 1000
    model = build("convnet", (32, 32, 3), 10, width=settings.width, depth=3)
    params, images, _ = problem(model, count)
    call = compiled(lambda params, images: predict(model, params, images), params, images)
    row = measure("evaluate", call, forward_gflop(settings.width, count), settings.repeats)
    yield row | {"images_per_s": count / row["seconds"]}
