"""The compiled loop over the steps of a guarded distiller.

The loop runs slices of steps that take about `SLICE_SECONDS`. After each slice it reports, writes a checkpoint if one
is due, and stops if the process was asked to (`ddjax.stopping`).
"""

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddjax.backend import compiler_options
from ddjax.execution.guard import SKIPPED, Guarded, counted
from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.execution.reading import ahead
from ddjax.storage.checkpoints import Changed, checkpoint_scope, maybe_checkpoint
from ddjax.types import Distiller, Feed, Metrics

Log = dict[str, np.ndarray]  # metric name -> its value at each step

SLICE_SECONDS = 2.0  # target duration of a slice of steps


def run_guarded(
    distiller: Distiller,
    feed: Feed,
    held: Guarded,
    *,
    steps: int,
    first: int = 0,
    chunk: int = 0,
    options: RunOptions = DEFAULTS,
) -> tuple[Guarded, Log]:
    """Run steps `first` .. `steps - 1` of a guarded distiller, or of a fleet of them.

    Args:
      distiller: a distiller of `Guarded` states.
      feed: a batch for each step.
      held: the state after `first` steps. Its buffers are donated.
      steps: total number of steps.
      first: number of steps that are done.
      chunk: number of steps in one program; 0 means about a fiftieth of `steps`.
      options: progress, checkpoints and patience.

    Returns:
      The last state, and the metrics of every step. The run ends early if every member has diverged.

    Raises:
      Changed: the newest checkpoint cannot be continued, or is of a later step than `steps`.
      ValueError: a step does not raise the state's `step` by one.
    """
    chunk, report, checkpoints = chunk or max(1, -(-steps // 50)), options.report, options.checkpoints
    chunk = min(chunk, feed.most or chunk)
    run = _program(distiller, feed.at, chunk, options.patience, compiler_options(steps))
    pace, parts = Pace(chunk), []
    with checkpoint_scope(checkpoints):
        if checkpoints and (saved := checkpoints.newest(held)):
            if saved.step > steps:
                raise Changed(f"{checkpoints.folder} has {saved.step} steps, and {steps} were asked for: start anew")
            first, held, parts = saved.step, saved.state, [saved.history]
        ahead_by = counted(held) - first
        for begin, data in _chunks(feed, first, steps, chunk):
            for low, high in pace.slices(begin, min(begin + chunk, steps)):
                held, metrics, at = run(held, data, jnp.int32(begin), jnp.int32(low), jnp.int32(high))
                reached = int(at)  # below `high` if the run diverged
                if (rise := counted(held) - ahead_by - low) != (count := reached - low):
                    raise ValueError(
                        f"the state's field step rose by {rise} in {count} steps of the distiller: return step + 1 "
                        "from each, because the random numbers of a step follow from it"
                    )
                parts.append({name: _plain(x)[low - begin : reached - begin] for name, x in metrics.items()})
                if report and reached > low:
                    report(reached, steps, _newest(parts[-1], held))
                done, ended = f"{reached} of {steps} steps are done", reached < high
                maybe_checkpoint(checkpoints, reached, held, lambda: joined(parts), done, broken=ended)
                if ended:
                    return held, joined(parts)
    return held, joined(parts)


def _plain(values: jax.Array) -> np.ndarray:
    """The values on the host, and bfloat16 as float32, because an .npz has no bfloat16."""
    host = np.asarray(values)
    return host.astype(np.float32) if host.dtype == jnp.bfloat16 else host


def _newest(log: Log, held: Guarded) -> dict[str, float]:
    """The metrics of the last step, as means over members, and the number of skipped updates if there are any."""
    metrics = {name: float(np.mean(x[-1])) for name, x in log.items() if name != SKIPPED}
    skipped = int(np.sum(np.asarray(held.skipped)))
    return metrics | ({SKIPPED: float(skipped)} if skipped else {})


def joined(parts: list[Log]) -> Log:
    """The logs of consecutive steps as one log. A metric is NaN where a part, of an older version, does not have it."""
    names = dict.fromkeys(name for part in parts for name in part)
    lacking = [np.full(part[SKIPPED].shape, np.nan, np.float32) for part in parts]
    return {
        name: np.concatenate([part.get(name, nan) for part, nan in zip(parts, lacking, strict=True)]) for name in names
    }


class Pace:
    """The number of steps in a slice, from the duration of the slice before. Several hosts always run whole chunks."""

    def __init__(self, most: int):
        """The first slice is one step, because it compiles; later ones have up to `most` steps."""
        self.most, self.count = most, 1 if jax.process_count() == 1 else most

    def slices(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Consecutive slices (first step, end) from `begin` to `end`."""
        while begin < end:
            stop, start = min(begin + self.count, end), time.monotonic()
            yield begin, stop
            if jax.process_count() == 1:
                seconds = max(time.monotonic() - start, 1e-6) / (stop - begin)  # of one step
                self.count = int(np.clip(SLICE_SECONDS / seconds, 1, self.most))
            begin = stop


def _chunks(feed: Feed, first: int, steps: int, chunk: int) -> Iterator[tuple[int, Any]]:
    """The first step and the data of each chunk. A thread fetches the next chunk while the device computes."""
    begins, fetch = range(first, steps, chunk), feed.fetch
    if fetch is None:
        return ((begin, feed.data) for begin in begins)
    return ((begin, (feed.data, data)) for begin, data in ahead(lambda begin: fetch(begin, chunk), begins))


@functools.lru_cache(maxsize=32)
def _program(
    distiller: Distiller, at: Callable, chunk: int, patience: int, compiling: tuple[tuple[str, float], ...]
) -> Callable:
    """The compiled steps, cached, so that other data, seeds or step counts do not compile again."""

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

    return jax.jit(run, donate_argnums=0, compiler_options=dict(compiling))
