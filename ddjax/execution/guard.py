"""Rejection of updates that are not finite. They are counted, and too many in a row end the run."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from ddjax import trees
from ddjax.names import briefly
from ddjax.trees import Stacked, is_key, record
from ddjax.types import Distiller, Metrics

T = TypeVar("T")

PATIENCE = 10  # a run ends after this number of rejected updates in a row
SKIPPED = "skipped"  # metric of a step: 1 if its update was rejected, else 0


class Diverged(ValueError):
    """A run, a network or an expert diverged: it has NaN or infinite values and no score.

    Attributes:
      state: the last finite state, or None.
      step: the number of steps done by then, or None.
    """

    def __init__(self, message: str, state: Any = None, step: int | None = None):
        """Create the error; see the attributes."""
        super().__init__(message)
        self.state, self.step = state, step


def attempted(function: Callable[..., T], *arguments: Any) -> T | Diverged:
    """`function(*arguments)`, or the error if it diverged, so that other members can continue."""
    try:
        return function(*arguments)
    except Diverged as error:
        return error


def intact(outcome: T | Diverged) -> T:
    """The outcome of one member.

    Raises:
      Diverged: the outcome is this error.
    """
    if isinstance(outcome, Diverged):
        raise outcome
    return outcome


@record()
class Guarded:
    """A distiller's state, whose values stay finite if they were finite at first, and counts of rejected updates."""

    state: Any
    skipped: Any  # int32 [], number of rejected updates
    in_a_row: Any  # int32 [], number of rejected updates since the last accepted one


def watch(state: Any) -> Guarded:
    """The state with both counts at zero.

    Raises:
      ValueError: the state has no `step`.
    """
    counter(state)
    return Guarded(state=state, skipped=jnp.int32(0), in_a_row=jnp.int32(0))


def counter(state: Any) -> Int[Array, ""]:
    """The leaf `step` at the top level of a state, which may be any class of pytree.

    Raises:
      ValueError: the state has no such leaf, or it is not an int32 scalar.
    """
    steps = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state) if _counts(path)]
    found = [f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "dtype") else repr(leaf) for leaf in steps]
    if found != ["int32[]"]:
        what = found[0] if found else "no such field"
        raise ValueError(
            f"a distiller's state needs a field step, int32 [], and {type(state).__name__} has {what}: start it as "
            "jnp.int32(0) in init and return step + 1 from each step. A rejected update still raises step, "
            "so that the next step draws other numbers."
        )
    return steps[0]


def counted(held: Guarded) -> int:
    """The `step` of a state; of a fleet the largest one."""
    leaves = jax.tree_util.tree_leaves_with_path(held.state)
    return max(int(np.asarray(leaf).max()) for path, leaf in leaves if _counts(path))


def finite(new: Any, old: Any) -> Bool[Array, ""]:
    """Whether every number that is finite in `old` is finite in `new`.

    Only the changed member of a `trees.Stacked` is checked.
    """
    floats = [
        jnp.all(jnp.isfinite(after) | ~jnp.isfinite(before))
        for after, before in zip(jax.tree.leaves(_changed(new)), jax.tree.leaves(_restored(new, old)), strict=True)
        if jnp.issubdtype(after.dtype, jnp.inexact)
    ]
    return functools.reduce(jnp.logical_and, floats, jnp.bool_(True))


@functools.lru_cache(maxsize=32)  # the same record for the same distiller, so that cached programs are found
def guarded(distiller: Distiller, patience: int = PATIENCE) -> Distiller:
    """The distiller with `Guarded` states.

    A rejected update changes only the random keys and the `step` of the state, so that the next step draws other
    numbers. After `patience` rejected updates in a row no update is accepted.

    Args:
      distiller: its states have a `step`, see `counter`.
      patience: at least 1.

    Returns:
      A distiller whose steps also report the metric "skipped".

    Raises:
      ValueError: from `init`, if a state has no `step`.
    """

    def init(key: Any, start: Any) -> Guarded:
        return watch(distiller.init(key, start))

    def step(held: Guarded, batch: Any) -> tuple[Guarded, Metrics]:
        new, metrics = _stepped(distiller.step(held.state, batch))
        good, alive = finite(new, held.state), held.in_a_row < patience
        state = _selected(good & alive, new, held.state)
        lost = alive & ~good
        row = jnp.where(alive, jnp.where(good, 0, held.in_a_row + 1), held.in_a_row)
        after = Guarded(state=state, skipped=held.skipped + lost, in_a_row=row)
        return after, metrics | {SKIPPED: lost.astype(jnp.float32)}

    return Distiller(init, step, lambda held: distiller.extract(held.state))


def _stepped(returned: Any) -> tuple[Any, Metrics]:
    """What a distiller's step returned, if it is a state with scalar metrics."""
    if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], dict)):
        raise ValueError(
            f"a distiller's step must return the pair (new state, dict of metrics); got {type(returned).__name__}"
        )
    for name, value in returned[1].items():
        if jnp.ndim(value):
            raise ValueError(f"metric {name} of a distiller's step must be a scalar; got {briefly(value)}")
    return returned


def _counts(path: Any) -> bool:
    return jax.tree_util.keystr(path, simple=True, separator="/") == "step"


def _stacked(part: Any) -> bool:
    return isinstance(part, Stacked)


def _changed(new: Any) -> Any:
    """The state with each stack replaced by the member that the step changed."""
    return jax.tree.map(lambda part: part.changed if _stacked(part) else part, new, is_leaf=_stacked)


def _restored(new: Any, old: Any) -> Any:
    """The state before that step, with each stack replaced by the same member."""
    return jax.tree.map(
        lambda after, before: trees.take(after.before, after.last) if _stacked(after) else before,
        new,
        old,
        is_leaf=_stacked,
    )


def _selected(good: Bool[Array, ""], new: Any, old: Any) -> Any:
    """`new` if it is good, else `old` with the keys and the `step` of `new`."""

    def select(path: Any, after: Any, before: Any) -> Any:
        if _stacked(after):
            return after.undone(~good, before)
        return after if is_key(after) or _counts(path) else jnp.where(good, after, before)

    return jax.tree_util.tree_map_with_path(select, new, old, is_leaf=_stacked)


def broken(what: str, step: int, steps: int, patience: int, state: Any = None) -> Diverged:
    """The error of a run that ended after `patience` rejected updates in a row."""
    return Diverged(
        f"{what} stopped after step {step} of {steps}: {patience} updates in a row held NaN or infinite values. "
        "Its last finite state is kept and has no score. A smaller rate is the first thing to try (the method's *_rate "
        "options), for a kernel regression a larger ridge or a solve in float64, then --precision float32, then labels "
        "and images without extreme values.",
        state,
        step,
    )
