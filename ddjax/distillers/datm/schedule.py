"""Random draws of an outer step of DATM: segments of the experts' trajectories, and the student's batches."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ddjax.types import PRNGKey

_EXPERT, _START = range(2)


class Drawn(NamedTuple):
    """Expert and start epoch of each segment."""

    expert: Int[Array, "r"]
    start: Int[Array, "r"]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Start epochs are drawn from [first, end).

    The end grows from `early` to `last` over `growth` outer steps; with 0 it is `last`. The `count` experts are visited
    in a new random order in every round, `segments` of them per step.
    """

    first: int
    early: int
    last: int
    growth: int
    count: int
    segments: int

    def end(self, step: Int[Array, ""] | int) -> Int[Array, ""]:
        """The exclusive end of the start epochs at an outer step, in integer arithmetic."""
        if not self.growth:
            return jnp.int32(self.last)
        done = jnp.minimum(jnp.asarray(step, jnp.int32), self.growth)
        return jnp.minimum(self.early + (self.last - self.early) * done // self.growth, self.last)

    def draw(self, key: PRNGKey, step: Int[Array, ""]) -> Drawn:
        """The segments of a step, a function of (key, step)."""
        numbers = step * self.segments + jnp.arange(self.segments, dtype=jnp.int32)

        def expert(number: Array) -> Array:
            round_key = jax.random.fold_in(jax.random.fold_in(key, _EXPERT), number // self.count)
            return jax.random.permutation(round_key, self.count)[number % self.count]

        def start(number: Array) -> Array:
            own = jax.random.fold_in(jax.random.fold_in(key, _START), number)
            return jax.random.randint(own, (), self.first, self.end(step), jnp.int32)

        return Drawn(jax.vmap(expert)(numbers), jax.vmap(start)(numbers))


def batches(key: PRNGKey, m: int, b: int, steps: int) -> Int[Array, "steps b"]:
    """Rows of each inner step: consecutive permutations of all m rows, cut into pieces of b, which divides m."""
    steps_per_pass = m // b
    passes = -(-steps // steps_per_pass)
    order = jax.vmap(lambda k: jax.random.permutation(k, m))(jax.random.split(key, passes))
    return order.reshape(-1, b)[:steps]
