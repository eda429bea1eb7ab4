"""RCIG's two inner learning rates: the search before the first step, and their adaptation to the inner curves."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddjax.trees import record

GROW, BACK = 1.2, 0.7  # factors of the search
MOST_TRIALS = 200  # of the search: from 1e-5 to above 1e10
WINDOW = 50  # steps between adaptations
DOWN_SHARE, DOWN = 0.29, 0.9  # the share of curves of class -1 that lowers the rate, and the factor
UP_SHARE, UP = 0.7, 1.05  # the share of curves of class +1 that raises the rate, and the factor
INNER_START, HINV_START = 1e-5, 5e-5


def curve_class(curve: Float[Array, "steps"]) -> Int[Array, ""]:
    """The class of a curve: +1 if it falls at every step, -1 if it ends above its start or is not finite, else 0."""
    falls, rises = jnp.all(curve[1:] < curve[:-1]), curve[-1] > curve[0]
    decided = jnp.where(falls, 1, jnp.where(rises, -1, 0))
    return jnp.where(jnp.all(jnp.isfinite(curve)), decided, -1).astype(jnp.int32)


def search(trial: Callable[[Float[Array, ""]], Int[Array, ""]], first: float) -> Float[Array, ""]:
    """The last rate for which `trial` returns +1, times 1.008; or the first rate, times 0.84, if it fails.

    The rate is multiplied by 1.2 after each trial, also after the one that fails, and by 0.7 at the end.
    """

    def body(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rate, _, count = carry
        return rate * GROW, trial(rate), count + 1

    start = (jnp.asarray(first, jnp.result_type(float)), jnp.int32(1), jnp.int32(0))
    rate, _, _ = jax.lax.while_loop(lambda c: (c[1] == 1) & (c[2] < MOST_TRIALS), body, start)
    return BACK * rate


@record()
class Rate:
    """A rate, with counts of the curve classes since its last adaptation."""

    value: Any  # []
    fallen: Any  # int32 [], how many were +1
    risen: Any  # int32 [], how many were -1
    seen: Any  # int32 []


def rate_init(value: Float[Array, ""] | float) -> Rate:
    """A rate with an empty history."""
    zero = jnp.int32(0)
    return Rate(value=jnp.asarray(value), fallen=zero, risen=zero, seen=zero)


def adapt(rate: Rate, outcome: Int[Array, ""], step: Int[Array, ""]) -> Rate:
    """Count a curve. At every 50th step but the first, change the rate for the next step and clear the counts.

    A rejected update (`ddjax.execution.guard`) restores the rate and its counts, so its curve is not counted and does
    not lower the rate. If it is that of a 50th step, the counts go on to the next one. Published code has no rejection:
    it gives a curve that is not finite the class 0, which does not lower the rate either.
    """
    fallen, risen, seen = rate.fallen + (outcome == 1), rate.risen + (outcome == -1), rate.seen + 1
    due = (step > 0) & (step % WINDOW == 0)
    # shares are compared as integers in hundredths, so that equality with 0.29 and 0.7 counts
    lower = 100 * risen >= round(100 * DOWN_SHARE) * seen
    raise_ = 100 * fallen >= round(100 * UP_SHARE) * seen
    factor = jnp.where(lower, DOWN, jnp.where(raise_, UP, 1.0))
    value = jnp.where(due, rate.value * factor.astype(rate.value.dtype), rate.value)
    fallen, risen, seen = (jnp.where(due, 0, count) for count in (fallen, risen, seen))
    return Rate(value=value, fallen=fallen, risen=risen, seen=seen)
