"""The loop: a compiled scan over a chunk of steps; it knows a Distiller and a Feed, and no method by name."""

import concurrent.futures
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddjax.types import Distiller, Feed, Metrics

Report = Callable[[int, int, dict[str, float]], None]  # (steps done, steps, newest metrics)


def distill(
    distiller: Distiller,
    feed: Feed,
    state: Any,
    *,
    steps: int,
    first: int = 0,
    chunk: int = 0,
    report: Report | None = None,
) -> tuple[Any, dict[str, np.ndarray]]:
    """Run steps `first` .. `steps - 1` from `state`; returns the last state and every step's metrics.

    `state` is donated. A chunk of steps is one program that is compiled once; `chunk=0` comes up about 50 times.
    Stopping after any step and going on from its state gives the same states as running through.
    """
    chunk = chunk or max(1, -(-steps // 50))
    compiled, parts = _program(distiller, feed.at), []
    for begin, data in _chunks(feed, first, steps, chunk):
        state, metrics = compiled(state, data, jnp.arange(begin, begin + chunk), jnp.int32(steps))
        count = min(chunk, steps - begin)
        parts.append(jax.tree.map(lambda x, count=count: np.asarray(x)[:count], metrics))
        if report:
            report(begin + count, steps, {name: float(np.mean(x[-1])) for name, x in parts[-1].items()})
    log = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    return state, log


def _chunks(feed: Feed, first: int, steps: int, chunk: int) -> Iterator[tuple[int, Any]]:
    """Where each chunk begins, and its data; those of the next are read while the device is busy with this one."""
    begins = range(first, steps, chunk)
    if feed.fetch is None:
        yield from ((begin, feed.data) for begin in begins)
        return
    with concurrent.futures.ThreadPoolExecutor(1) as reader:
        ahead = [reader.submit(feed.fetch, begin, chunk) for begin in begins[:1]]
        for begin in begins:
            data = ahead.pop().result()
            if begin + chunk < steps:
                ahead.append(reader.submit(feed.fetch, begin + chunk, chunk))
            yield begin, data


@functools.lru_cache(maxsize=32)
def _program(distiller: Distiller, at: Callable) -> Callable:
    """The compiled chunk; kept, so that the same distiller and feed on other data, seeds or steps compile nothing."""

    def one(state: Any, data: Any, step: jax.Array) -> tuple[Any, Metrics]:
        return distiller.step(state, at(data, step))

    def run(state: Any, data: Any, numbers: jax.Array, steps: jax.Array) -> tuple[Any, Metrics]:
        shapes = jax.eval_shape(one, state, data, numbers[0])[1]
        idle = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

        def body(state: Any, step: jax.Array) -> tuple[Any, Metrics]:
            return jax.lax.cond(step < steps, lambda s: one(s, data, step), lambda s: (s, idle), state)

        return jax.lax.scan(body, state, numbers)

    return jax.jit(run, donate_argnums=0)
