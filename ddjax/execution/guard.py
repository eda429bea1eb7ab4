"""The guard of a run: an update that is not finite is rejected and counted; too many in a row end the run."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ddjax import trees
from ddjax.trees import Stacked, is_key, record
from ddjax.types import Distiller, Metrics

T = TypeVar("T")

PATIENCE = 10  # updates in a row that are not finite, after which a run is broken
SKIPPED = "skipped"  # the metric: 1 where the update of a step was rejected


class Diverged(ValueError):
    """A run, a network or an expert whose numbers stopped being finite: it has no score."""

    def __init__(self, message: str, state: Any = None, step: int | None = None):
        """`state` is the last finite one, where there is one, and `step` how many steps were done by then."""
        super().__init__(message)
        self.state, self.step = state, step


def attempted(function: Callable[..., T], *arguments: Any) -> T | Diverged:
    """What the function gives for one member of several; that it diverged is the outcome of this member alone."""
    try:
        return function(*arguments)
    except Diverged as error:
        return error


def intact(outcome: T | Diverged) -> T:
    """The outcome of a member that finished.

    Raises:
      Diverged: it did not finish; the outcome is this error.
    """
    if isinstance(outcome, Diverged):
        raise outcome
    return outcome


@record()
class Guarded:
    """A distiller's state, which stays finite where it began finite, and how many updates were rejected."""

    state: Any
    skipped: Any  # int32 [], rejected updates
    in_a_row: Any  # int32 [], rejected updates since the last one that was taken


def watch(state: Any) -> Guarded:
    """The state under guard, nothing rejected yet.

    Raises:
      ValueError: the state has no `step`.
    """
    counter(state)
    return Guarded(state=state, skipped=jnp.int32(0), in_a_row=jnp.int32(0))


def counter(state: Any) -> Int[Array, ""]:
    """The state's own count of its steps: the leaf `step` at its top, whatever class of pytree carries it.

    Raises:
      ValueError: there is none, or it is not an int32 scalar.
    """
    found = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state) if _counts(path)]
    if len(found) != 1 or found[0].shape != () or found[0].dtype != jnp.int32:
        what = f"{found[0].dtype}{list(found[0].shape)}" if found else "no such field"
        raise ValueError(
            f"a distiller's state needs a field step, int32 [], and {type(state).__name__} has {what}: start it as "
            "jnp.int32(0) in init and return step + 1 from each step. After a rejected update it alone moves on, "
            "so that the next step draws other numbers."
        )
    return found[0]


def finite(new: Any, old: Any) -> Bool[Array, ""]:
    """Whether every number of `new` is finite that was so in `old` (an infinite bound may stay one).

    Of a `trees.Stacked` only the member that was changed is looked at.
    """
    floats = [
        jnp.all(jnp.isfinite(after) | ~jnp.isfinite(before))
        for after, before in zip(jax.tree.leaves(_changed(new)), jax.tree.leaves(_restored(new, old)), strict=True)
        if jnp.issubdtype(after.dtype, jnp.inexact)
    ]
    return functools.reduce(jnp.logical_and, floats, jnp.bool_(True))


@functools.lru_cache(maxsize=32)  # the same record for the same distiller, so that its programs are found again
def guarded(distiller: Distiller, patience: int = PATIENCE) -> Distiller:
    """The distiller with `Guarded` states; after `patience` rejected updates in a row the state changes no more.

    A rejected update leaves everything as it was except random keys and the state's `step`, which move on, so that
    the next step draws other numbers.

    Args:
      distiller: its states carry a `step`, see `counter`.
      patience: at least 1.

    Returns:
      A distiller whose steps also report the metric "skipped".

    Raises:
      ValueError: from `init`, where a state has no `step`.
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


def _counts(path: Any) -> bool:
    return jax.tree_util.keystr(path, simple=True, separator="/") == "step"


def _stacked(part: Any) -> bool:
    return isinstance(part, Stacked)


def _changed(new: Any) -> Any:
    """A state with each stack as the one member that its step changed."""
    return jax.tree.map(lambda part: part.changed if _stacked(part) else part, new, is_leaf=_stacked)


def _restored(new: Any, old: Any) -> Any:
    """The same of the state before that step."""
    return jax.tree.map(
        lambda after, before: trees.take(after.before, after.last) if _stacked(after) else before,
        new,
        old,
        is_leaf=_stacked,
    )


def _selected(good: Bool[Array, ""], new: Any, old: Any) -> Any:
    """`new` where it is good; else `old` with the keys and the `step` of `new`."""

    def select(path: Any, after: Any, before: Any) -> Any:
        if _stacked(after):
            return after.undone(~good)
        return after if is_key(after) or _counts(path) else jnp.where(good, after, before)

    return jax.tree_util.tree_map_with_path(select, new, old, is_leaf=_stacked)


def broken(what: str, step: int, steps: int, patience: int, state: Any = None) -> Diverged:
    """The error for a run that ended so."""
    return Diverged(
        f"{what} stopped after step {step} of {steps}: {patience} updates in a row held NaN or infinite values. "
        "Its last finite state is kept and has no score. A smaller rate is the first thing to try (the method's *_rate "
        "options), then --precision float32, then labels and images without extreme values.",
        state,
        step,
    )
