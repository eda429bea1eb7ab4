"""Reading ahead: a feed whose images are on the host becomes one that fetches them for a range of steps.

The rows of a step are a function of a key and the step. They are computed for many steps at once, read on the host, and
sent to the device while it computes the steps before.
"""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddjax.execution import proxies
from ddjax.rows import HostRows
from ddjax.trees import record
from ddjax.types import Feed

CHUNK_BYTES = 2**25  # of what is fetched together


@record()
class Fetched:
    """The bytes of the images of a range of steps that starts at `first`."""

    pixels: Any  # for each set of images, and each time that a step asks for rows of it: uint8 [steps ... h w c]
    first: Any  # int32 []


@dataclasses.dataclass(frozen=True)
class ReadAhead:
    """A feed's function that receives the images of its step. Equal functions give equal ones, and one program."""

    at: Callable[[Any, Int[Array, ""]], Any]

    def __call__(self, data: tuple[Any, Fetched], step: Int[Array, ""]) -> Any:
        """The batch of a step."""
        known, fetched = data
        pixels = jax.tree.map(lambda leaf: leaf[step - fetched.first], fetched.pixels)
        return self.at(proxies.supplied(known, pixels), step)


@functools.lru_cache(maxsize=32)
def _requests(at: Callable) -> Callable:
    """The rows that the steps request, as a compiled function of (data, steps, value of all pixels)."""

    def of_steps(known: Any, steps: Int[Array, "n"], fill: Float[Array, ""]) -> list[list[Array]]:
        def one(step: Int[Array, ""]) -> list[list[Array]]:
            data, lists = proxies.recorded(known, fill)
            at(data, step)
            return lists

        return jax.lax.map(one, steps)  # one after the other: a draw without replacement sorts numbers of all rows

    return jax.jit(of_steps)


def read_ahead(feed: Feed) -> Feed:
    """A feed that fetches its images, if they are on the host; else the feed itself.

    Args:
      feed: its `at` asks for rows of the images in its data, `data.images[rows]`, outside of loops and branches.

    Returns:
      A feed with the same batches.

    Raises:
      ValueError: the rows depend on the images.
    """
    sets = proxies.on_host(feed.data)
    if not sets:
        return feed
    known, requests = proxies.with_proxies(feed.data), _requests(feed.at)
    blank, other = (requests(known, jnp.arange(1), jnp.float32(fill)) for fill in (0, 1))
    if not jax.tree.all(jax.tree.map(jnp.array_equal, blank, other)):
        raise ValueError(
            "the rows that a step asks for depend on the images, so they cannot be read ahead from the host: keep the "
            'images on the device, with images="device"'
        )
    counts = [sum(leaf.size for leaf in lists) for lists in blank]
    size = sum(count * int(np.prod(part.shape[1:])) for part, count in zip(sets, counts, strict=True))  # of one step

    def fetch(first: int, count: int) -> Fetched:
        numbers = requests(known, jnp.arange(first, first + count), jnp.float32(0))
        return Fetched(pixels=_read(sets, jax.device_get(numbers)), first=jnp.int32(first))

    return Feed(known, ReadAhead(feed.at), fetch, max(1, CHUNK_BYTES // max(1, size)))


def ahead(read: Callable[[Any], Any], parts: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Each part and what `read` makes of it. A thread reads the next part while the caller works on this one."""
    with concurrent.futures.ThreadPoolExecutor(1) as reader:
        waiting = [reader.submit(read, part) for part in parts[:1]]
        for number, part in enumerate(parts):
            data = waiting.pop().result()
            waiting += [reader.submit(read, later) for later in parts[number + 1 : number + 2]]
            yield part, data


def _read(sets: Sequence[HostRows], numbers: list[list[np.ndarray]]) -> list[list[Array]]:
    return [[jnp.asarray(part.read(each)) for each in lists] for part, lists in zip(sets, numbers, strict=True)]
