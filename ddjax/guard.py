"""The guard of a run: an update that is not finite is not taken, but counted; too many in a row are a broken run."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ddjax.trees import is_key, record
from ddjax.types import Distiller, Metrics

PATIENCE = 10  # updates in a row that are not finite, after which a run is broken
SKIPPED = "skipped"  # the metric: 1 where a step was not taken


class Diverged(ValueError):
    """A run, a network or an expert whose numbers stopped being finite: it has no score."""

    def __init__(self, message: str, state: Any = None, step: int | None = None):
        """`state` is the last finite one, where there is one, and `step` how many steps were done by then."""
        super().__init__(message)
        self.state, self.step = state, step


@record()
class Guarded:
    """A distiller's state, which is always finite where it began finite, and what was not taken into it."""

    state: Any
    skipped: Any  # int32 [], updates that were not taken
    in_a_row: Any  # int32 [], the last so many


def watch(state: Any) -> Guarded:
    """The state under guard, nothing skipped."""
    return Guarded(state=state, skipped=jnp.int32(0), in_a_row=jnp.int32(0))


def finite(new: Any, old: Any) -> Bool[Array, ""]:
    """Whether every number of `new` is finite that was so in `old` (an infinite bound may stay one)."""
    floats = [
        jnp.all(jnp.isfinite(after) | ~jnp.isfinite(before))
        for after, before in zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True)
        if jnp.issubdtype(after.dtype, jnp.inexact)
    ]
    return functools.reduce(jnp.logical_and, floats, jnp.bool_(True))


@functools.lru_cache(maxsize=32)  # the same record for the same distiller, so that its programs are found again
def guarded(distiller: Distiller, patience: int = PATIENCE) -> Distiller:
    """The distiller with `Guarded` states; `patience` skipped updates in a row end it: the state changes no more.

    A step that is not taken leaves everything as it was but keys and a number of its own (`state.step`), which move
    on, so that the next draws are others.
    """

    def init(key: Any, start: Any) -> Guarded:
        return watch(distiller.init(key, start))

    def step(held: Guarded, batch: Any) -> tuple[Guarded, Metrics]:
        new, metrics = distiller.step(held.state, batch)
        good, alive = finite(new, held.state), held.in_a_row < patience
        state = _selected(good & alive, new, held.state)
        lost = alive & ~good
        row = jnp.where(alive, jnp.where(good, 0, held.in_a_row + 1), held.in_a_row)
        after = Guarded(state=state, skipped=held.skipped + lost, in_a_row=row)
        return after, metrics | {SKIPPED: lost.astype(jnp.float32)}

    return Distiller(init, step, lambda held: distiller.extract(held.state))


def _selected(good: Bool[Array, ""], new: Any, old: Any) -> Any:
    chosen = jax.tree.map(lambda after, before: after if is_key(after) else jnp.where(good, after, before), new, old)
    if dataclasses.is_dataclass(new) and hasattr(new, "step"):
        return dataclasses.replace(chosen, step=new.step)
    return chosen


def broken(what: str, step: int, steps: int, patience: int, state: Any = None) -> Diverged:
    """The error for a run that ended so."""
    return Diverged(
        f"{what} stopped after step {step} of {steps}: {patience} updates in a row held NaN or infinite values. "
        "Its last finite state is kept and has no score. A smaller rate is the first thing to try (the method's *_rate "
        "options), then --precision float32, then labels and images without extreme values.",
        state,
        step,
    )
