"""The loop: a compiled run of steps; it knows a Distiller and a Feed, and no method by name.

Between two runs of steps, a few seconds at most where a single step is quicker than that, it comes up for air:
it reports, keeps a checkpoint where one is due, and ends in order where the process was asked to (`ddjax.stopping`).
"""

import concurrent.futures
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddjax.execution.guard import PATIENCE, SKIPPED, Guarded, broken, guarded, watch
from ddjax.ranges import check_int
from ddjax.storage.checkpoints import Checkpoints, checkpoint_scope, maybe_checkpoint
from ddjax.types import Distiller, Feed, Metrics

Report = Callable[[int, int, dict[str, float]], None]  # (steps done, steps, newest metrics)
Log = dict[str, np.ndarray]  # by name, a metric of each step

SLICE_SECONDS = 2.0  # seconds of steps between two breaths


def distill(
    distiller: Distiller,
    feed: Feed,
    state: Any,
    *,
    steps: int,
    first: int = 0,
    chunk: int = 0,
    report: Report | None = None,
    checkpoints: Checkpoints | None = None,
    patience: int = PATIENCE,
) -> tuple[Any, Log]:
    """Run steps `first` .. `steps - 1` from `state`.

    An update that is not finite is rejected, and counted in the metric "skipped". Stopping after any step and
    going on from its state gives the same states as running through.

    Args:
      distiller: its `step` is compiled.
      feed: a batch for each step.
      state: what `distiller.init` gave, or the state after `first` steps; it is donated.
      steps: of the whole run.
      first: how many of them are done.
      chunk: how many steps are one program; 0 cuts the run into about 50 chunks.
      report: called with (steps done, steps, newest metrics).
      checkpoints: the run goes on from the newest one, and gives the bits that it would have given uninterrupted.
      patience: so many rejected updates in a row end the run.

    Returns:
      The last state, and each metric of every step.

    Raises:
      ValueError: a number is out of range, or the state has no `step` (see `guard.counter`).
      Diverged: `patience` updates in a row were rejected; the error has the last finite state.
    """
    check_numbers(steps=steps, first=first, chunk=chunk, patience=patience)
    held, log = run_guarded(
        guarded(distiller, patience),
        feed,
        watch(state),
        steps=steps,
        first=first,
        chunk=chunk,
        report=report,
        checkpoints=checkpoints,
        patience=patience,
    )
    if int(held.in_a_row) >= patience:
        raise broken("the distillation", first + len(log[SKIPPED]), steps, patience, held.state)
    return held.state, log


def check_numbers(*, patience: int, **counts: int) -> None:
    """Refuse a `patience` below 1, and other counts below 0."""
    for name, count in counts.items():
        check_int(count, name, 0)
    check_int(patience, "patience")


def run_guarded(
    distiller: Distiller,
    feed: Feed,
    held: Guarded,
    *,
    steps: int,
    first: int = 0,
    chunk: int = 0,
    report: Report | None = None,
    checkpoints: Checkpoints | None = None,
    patience: int = PATIENCE,
) -> tuple[Guarded, Log]:
    """`distill` of a guarded distiller, perhaps a fleet of them; ends early where all its members are broken."""
    chunk = chunk or max(1, -(-steps // 50))
    run, pace, parts = _program(distiller, feed.at, chunk, patience), Pace(chunk), []
    with checkpoint_scope(checkpoints):
        if checkpoints and (saved := checkpoints.newest(held)):
            first, held, parts = saved.step, saved.state, [saved.history]
        for begin, data in _chunks(feed, first, steps, chunk):
            for low, high in pace.slices(begin, min(begin + chunk, steps)):
                held, metrics, at = run(held, data, jnp.int32(begin), jnp.int32(low), jnp.int32(high))
                reached = int(at)  # short of `high` where the run is broken: it takes no more steps
                parts.append({name: np.asarray(x)[low - begin : reached - begin] for name, x in metrics.items()})
                if report and reached > low:
                    report(reached, steps, _newest(parts[-1], held))
                done, ended = f"{reached} of {steps} steps are done", reached < high
                maybe_checkpoint(checkpoints, reached, held, lambda: joined(parts), done, broken=ended)
                if ended:
                    return held, joined(parts)
    return held, joined(parts)


def _newest(log: Log, held: Guarded) -> dict[str, float]:
    """The metrics of the last step, means over members; skipped updates are counted, where there are any."""
    metrics = {name: float(np.mean(x[-1])) for name, x in log.items() if name != SKIPPED}
    skipped = int(np.sum(np.asarray(held.skipped)))
    return metrics | ({SKIPPED: float(skipped)} if skipped else {})


def joined(parts: list[Log]) -> Log:
    """One log from those of consecutive steps."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


class Pace:
    """How many steps to take at a time, by how long the last ones took; several hosts share no clock and take all."""

    def __init__(self, most: int):
        """One at first, which compiles; then up to `most`."""
        self.most, self.count = most, 1 if jax.process_count() == 1 else most

    def slices(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Consecutive ranges of steps from `begin` to `end`."""
        while begin < end:
            stop, start = min(begin + self.count, end), time.monotonic()
            yield begin, stop
            if jax.process_count() == 1:
                each = max(time.monotonic() - start, 1e-6) / (stop - begin)
                self.count = int(np.clip(SLICE_SECONDS / each, 1, self.most))
            begin = stop


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
def _program(distiller: Distiller, at: Callable, chunk: int, patience: int) -> Callable:
    """The compiled steps; kept, so that the same distiller and feed on other data, seeds or steps compile nothing."""

    def one(held: Guarded, data: Any, step: jax.Array) -> tuple[Guarded, Metrics]:
        return distiller.step(held, at(data, step))

    def run(
        held: Guarded, data: Any, begin: jax.Array, low: jax.Array, high: jax.Array
    ) -> tuple[Guarded, Metrics, jax.Array]:
        shapes = jax.eval_shape(one, held, data, low)[1]
        blank = jax.tree.map(lambda s: jnp.zeros((chunk, *s.shape), s.dtype), shapes)

        def going(carry: tuple[Guarded, Metrics, jax.Array]) -> jax.Array:
            return (carry[2] < high) & jnp.any(carry[0].in_a_row < patience)

        def body(carry: tuple[Guarded, Metrics, jax.Array]) -> tuple[Guarded, Metrics, jax.Array]:
            held, log, step = carry
            held, metrics = one(held, data, step)
            log = jax.tree.map(lambda rows, new: rows.at[step - begin].set(new), log, metrics)
            return held, log, step + 1

        return jax.lax.while_loop(going, body, (held, blank, low))

    return jax.jit(run, donate_argnums=0)
