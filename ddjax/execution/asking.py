"""A function that asks for rows of images on the host, divided for compiled programs.

A compiled program cannot read the host. `asking` makes a program that only computes the numbers of the rows, and
`answering` one that is given their bytes.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ddjax.rows import HostRows, Images
from ddjax.trees import record


@record(static=("shape",))
class Away(Images):
    """What a compiled program knows of images on the host."""

    transform: Any
    shape: tuple[int, ...]


@dataclasses.dataclass(eq=False)
class _Asking(Images):
    away: Away
    fill: Any
    asked: list[Array]

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.away.shape

    def __getitem__(self, rows: Any) -> Array:
        rows = jnp.asarray(rows)
        self.asked.append(rows)
        return jnp.full((*rows.shape, *self.shape[1:]), self.fill, jnp.float32)


@dataclasses.dataclass(eq=False)
class _Answering(Images):
    away: Away
    pixels: Iterator[Array]

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.away.shape

    def __getitem__(self, rows: Any) -> Array:
        return self.away.transform(next(self.pixels))


def on_host(tree: Any) -> list[HostRows]:
    """The images on the host in a tree, in the order of its leaves."""
    return [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, HostRows)]


def on_disk(tree: Any) -> Any:
    """The tree with images on the host replaced by their arrays, those of the same images on the device."""
    return jax.tree.map(lambda leaf: leaf.arrays() if _there(leaf) else leaf, tree)


def away(tree: Any) -> Any:
    """The tree with images on the host replaced by what a compiled program knows of them."""
    return jax.tree.map(lambda leaf: Away(transform=leaf.transform, shape=leaf.shape) if _there(leaf) else leaf, tree)


def _there(leaf: Any) -> bool:
    return isinstance(leaf, HostRows)


def _is_away(part: Any) -> bool:
    return isinstance(part, Away)


def asking(tree: Any, fill: Any) -> tuple[Any, list[list[Array]]]:
    """A tree whose images are `fill` and note the rows that are asked of them.

    Args:
      tree: as `away` returns it.
      fill: the value of every pixel.

    Returns:
      The tree, and for each of its images a list of the rows, which grows while a function asks for them.
    """
    lists: list[list[Array]] = []

    def noting(part: Any) -> Any:
        if not _is_away(part):
            return part
        lists.append([])
        return _Asking(part, fill, lists[-1])

    return jax.tree.map(noting, tree, is_leaf=_is_away), lists


def answering(tree: Any, pixels: list[list[Array]]) -> Any:
    """A tree whose images are those of `pixels`, in the order in which a function asks for them.

    Args:
      tree: as `away` returns it.
      pixels: the bytes of the rows that `asking` noted.

    Returns:
      The tree.
    """
    lists = iter(pixels)
    return jax.tree.map(
        lambda part: _Answering(part, iter(next(lists))) if _is_away(part) else part, tree, is_leaf=_is_away
    )
