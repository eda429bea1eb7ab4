"""Random orders of rows: the values of `jax.random.permutation`, from a program with one sort.

JAX repeats the sort for 1,626 rows and more, and a TPU's compiler takes ten seconds or more for each.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from ddjax.types import PRNGKey


def permutation(key: PRNGKey, n: int) -> Int[Array, "n"]:
    """A random order of n rows, equal to `jax.random.permutation(key, n)`.

    Args:
      key: decides the order.
      n: number of rows.

    Returns:
      The numbers from 0 to n - 1.

    Example:
      >>> import jax
      >>> sorted(permutation(jax.random.key(0), 3).tolist())
      [0, 1, 2]
    """

    def sort(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        key, rows = carry
        key, own = jax.random.split(key)
        return key, lax.sort_key_val(jax.random.bits(own, (n,), jnp.uint32), rows)[1]

    sorts = math.ceil(3 * math.log(max(1, n)) / math.log(2**32 - 1))  # 32 bits alone may have equal entries
    return lax.fori_loop(0, sorts, sort, (key, jnp.arange(n)))[1]


def distinct(key: PRNGKey, n: int, count: int) -> Int[Array, "count"]:
    """`count` different rows of n in random order, equal to `jax.random.choice(key, n, (count,), replace=False)`.

    Args:
      key: decides the rows.
      n: number of rows.
      count: number of drawn rows, at most n.

    Returns:
      The rows.

    Example:
      >>> import jax
      >>> len(set(distinct(jax.random.key(0), 9, 4).tolist()))
      4
    """
    return permutation(key, n)[:count]
