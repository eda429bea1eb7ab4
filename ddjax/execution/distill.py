"""Run a distiller, or several members of one as a fleet."""

from typing import Any, overload

import numpy as np

from ddjax import trees
from ddjax.execution import fleet
from ddjax.execution.guard import SKIPPED, Diverged, attempted, broken, guarded, watch
from ddjax.execution.loop import Log, run_guarded
from ddjax.execution.options import DEFAULTS, RunOptions
from ddjax.execution.reading import read_ahead
from ddjax.ranges import Natural, check
from ddjax.storage.compiled import keep_compiled
from ddjax.types import Distiller, Feed


@overload
def distill(
    distiller: Distiller,
    feed: Feed,
    state: Any,
    *,
    steps: int,
    first: int = 0,
    chunk: int = 0,
    options: RunOptions = DEFAULTS,
) -> tuple[Any, Log]: ...


@overload
def distill(
    distiller: Distiller,
    feed: list[Feed],
    state: Any,
    *,
    steps: int,
    first: int = 0,
    chunk: int = 0,
    options: RunOptions = DEFAULTS,
) -> list[tuple[Any, Log] | Diverged]: ...


def distill(
    distiller: Distiller,
    feed: Feed | list[Feed],
    state: Any,
    *,
    steps: int,
    first: int = 0,
    chunk: int = 0,
    options: RunOptions = DEFAULTS,
) -> tuple[Any, Log] | list[tuple[Any, Log] | Diverged]:
    """Run steps `first` .. `steps - 1` of a distiller, or of a fleet of them, from `state`.

    An update with a NaN or infinite value is rejected and counted in the metric "skipped". A run that stops after any
    step and continues from its state has the same states as an uninterrupted run.

    A list of feeds runs a fleet: one program, vmapped over members and sharded over the local devices that divide
    them. A member that diverges changes no more; the others continue.

    Args:
      distiller: its `step` is compiled.
      feed: a batch for each step; or a list with a feed for each member, all with the same function `at`.
      state: the result of `distiller.init`, or the state after `first` steps; for a fleet the states of all members,
        stacked (`fleet.init_members`). Its buffers are donated.
      steps: total number of steps.
      first: number of steps that are done, at most `steps`.
      chunk: number of steps in one program; 0 means about a fiftieth of `steps`.
      options: progress, checkpoints and patience; a fleet has one checkpoint for all members.

    Returns:
      The last state, and each metric of every step. For a list, such a pair for each member, or its error.

    Raises:
      ValueError: a number is out of range, the state has no `step` (see `guard.counter`) or a step does not raise it by
        one, or the feeds of a fleet differ in `at` or are none.
      Diverged: `options.patience` updates in a row were rejected. The error has the last finite state.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddjax import Distiller, Feed, distill
      >>> def step(state, batch):
      ...     return {"sum": state["sum"] + batch, "step": state["step"] + 1}, {"batch": batch}
      >>> feed = Feed(jnp.arange(3.0), lambda data, step: data[step])
      >>> state = {"sum": jnp.float32(0), "step": jnp.int32(0)}
      >>> state, log = distill(Distiller(None, step, None), feed, state, steps=3)
      >>> float(state["sum"]), log["batch"].tolist()
      (3.0, [0.0, 1.0, 2.0])
    """
    keep_compiled()
    for name, count in {"steps": steps, "first": first, "chunk": chunk}.items():
        check(count, Natural, name)
    if first > steps:
        raise ValueError(f"first={first} steps are done, more than steps={steps} in total: raise steps, or lower first")
    more = {"steps": steps, "first": first, "chunk": chunk, "options": options}
    if isinstance(feed, list):
        if not feed:
            raise ValueError("feed is an empty list: pass a feed, or a list with one for each member")
        if len(feed) > 1:
            return _members(distiller, feed, state, **more)
        return [attempted(lambda: distill(distiller, feed[0], trees.take(state, 0), **more))]
    state = watch(trees.unshared(state))
    held, log = run_guarded(guarded(distiller, options.patience), read_ahead(feed), state, **more)
    if int(held.in_a_row) >= options.patience:
        raise broken("the distillation", first + len(log[SKIPPED]), steps, options.patience, held.state)
    return held.state, log


def _members(distiller: Distiller, feeds: list[Feed], states: Any, **more: Any) -> list[tuple[Any, Log] | Diverged]:
    """The outcome of each member of a fleet."""
    steps, patience = more["steps"], more["options"].patience
    together, feed = fleet.join_feeds(guarded(distiller, patience), feeds)
    held, log = run_guarded(together, feed, fleet.watch_members(states), **more)
    outcomes: list[tuple[Any, Log] | Diverged] = []
    for i, row in enumerate(np.asarray(held.in_a_row).tolist()):
        state, own = trees.take(held.state, i), {name: values[:, i] for name, values in log.items()}
        if row >= patience:
            last = more["first"] + int(np.flatnonzero(own[SKIPPED])[-1]) + 1
            outcomes.append(broken(f"member {i} of {len(feeds)}", last, steps, patience, state))
        else:
            outcomes.append((state, own))
    return outcomes
