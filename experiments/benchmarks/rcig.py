"""An outer step of RCIG on random data of CIFAR-10's shape with mirror images, and its parts."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ddjax import bilevel
from ddjax.distillers import rcig
from ddjax.distillers.rcig import gradient as rcig_gradient
from ddjax.distillers.rcig import inner as rcig_inner
from ddjax.distillers.rcig.tangent import freeze
from ddjax.distillers.shared import pool
from ddjax.types import Distiller, TrainSet
from experiments.benchmarks.measure import Call, Entry, Settings, compiled, measure
from experiments.sweeping.formulas import rcig_passes

MEMBERS = 30  # networks in the pool
POOL_STEPS = 8  # mean number of training steps of a visited network


def forward_gflop(width: int, images: int) -> float:
    """GFLOP of three convolutions whose channels double: 32x32 from 3 channels, 16x16, 8x8."""
    return 2 * 9 * images * (32**2 * 3 * width + 16**2 * width * 2 * width + 8**2 * 2 * width * 4 * width) / 1e9


def random_set(count: int) -> TrainSet:
    """A training set of Gaussian images."""
    rng = np.random.default_rng(0)
    return TrainSet(
        images=jnp.asarray(rng.standard_normal((count, 32, 32, 3)), jnp.float32),
        labels=jnp.asarray(np.arange(count) % 10, jnp.int32),
        ids=jnp.arange(count, dtype=jnp.int32),
        num_classes=10,
        space="random",
    )


def going_on(distiller: Distiller, state: Any, batch: Any) -> Call:
    """A call that takes the next step with donated state; one of RCIG trains a network for 1 to 15 steps."""
    start, now = time.perf_counter(), [jax.tree.map(jnp.copy, state)]
    step = jax.jit(distiller.step, donate_argnums=0).lower(now[0], batch).compile()
    taken = time.perf_counter() - start

    def call() -> None:
        now[0], _ = jax.block_until_ready(step(now[0], batch))

    call()
    return Call(call, taken)


def rcig_step(settings: Settings) -> Iterator[Entry]:
    """Measure outer_step, then its parts: linearise, inner, outer_gradient, hinv, implicit and pool (8 steps).

    FLOPs are counted in forward passes as in `rcig_passes`.
    """
    config = rcig.RcigConfig(
        ipc=settings.ipc,
        width=settings.width,
        batch=settings.batch or 256,
        pool_size=MEMBERS,
        inner_rate=3e-5,
        hinv_rate=5e-5,
    )
    train = random_set(max(2 * config.batch, 20 * settings.ipc))
    model = rcig.network(config, (32, 32, 3), 10)
    start, feed = rcig.prepare(config, train, model, jax.random.key(0))
    distiller = rcig.build(config, model)
    state = distiller.init(jax.random.key(1), start)
    batch = feed.at(feed.data, jnp.int32(0))
    member = state.pool.take(0)
    keys = rcig_gradient.keys_of(jax.random.key(2), jnp.int32(0))
    support, real = state.support, rcig.with_targets(batch, 10)
    n, gflop = 20 * settings.ipc, forward_gflop(settings.width, 1)

    def part(name: str, function: Callable[..., Any], passes: float, *arguments: Any) -> Entry:
        call = compiled(function, *arguments)
        return measure(f"rcig {name}", call, gflop * passes, settings.repeats)

    def problem(params: Any, support: Any) -> Any:
        frozen = freeze(model, params)
        return frozen, rcig_gradient.the_problem(config, frozen, support)

    def linearise(params: Any, support: Any) -> Any:
        built = problem(params, support)[1]
        return built.factor, built.map.features

    def inner(params: Any, support: Any) -> Any:
        frozen, built = problem(params, support)
        return rcig_gradient.minimise(config, frozen, built, 3e-5, keys.inner, jnp.int32(0))

    def outer(params: Any, support: Any, real: Any, t: Any) -> Any:
        frozen, built = problem(params, support)
        return rcig_gradient.direct_gradient(config, frozen, built, real, t, support, keys.direct)

    def hinv(params: Any, support: Any, g: Any) -> Any:
        hessian = rcig_inner.hessian(problem(params, support)[1])
        return bilevel.adam(5e-5, config.hinv_steps)(hessian, g)

    def implicit(params: Any, support: Any, t: Any, v: Any) -> Any:
        frozen, built = problem(params, support)
        return jax.grad(lambda s: rcig_gradient.coupling(config, frozen, built, None, t, s, v))(support)

    def train_member(member: Any, support: Any) -> Any:
        images, labels = rcig.outer.expand(support, config.flip)
        return pool.train(member, model, optax.adam(5e-5), images, labels, POOL_STEPS, keys.training)

    total = rcig_passes(config, n, config.batch, POOL_STEPS)
    yield measure("rcig outer_step", going_on(distiller, state, batch), gflop * total, settings.repeats)
    if not settings.parts:
        return
    yield part("linearise", linearise, n, member.params, support)
    found = jax.jit(inner)(member.params, support)
    yield part("inner", inner, n * (1 + 4 * config.inner_steps), member.params, support)
    _, g, _ = jax.jit(outer)(member.params, support, real, found.point)
    passes = 10 * n + 5 * config.batch
    yield part("outer_gradient", outer, passes, member.params, support, real, found.point)
    v = jax.jit(hinv)(member.params, support, g).x
    yield part("hinv", hinv, n * (1 + 4 * config.hinv_steps), member.params, support, g)
    yield part("implicit", implicit, 16 * n, member.params, support, found.point, v)
    yield part(f"pool x{POOL_STEPS}", train_member, 3 * POOL_STEPS * n, member, support)
