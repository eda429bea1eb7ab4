"""Proxies of images on the host in compiled programs, which cannot read the host.

`recorded` gives a tree for a program that only computes the numbers of the rows it needs, and `supplied` one for a
program that receives the bytes of these rows.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ddjax.rows import HostRows, Images, by_row
from ddjax.trees import record


@record(static=("shape",))
class Proxy(Images):
    """The shape and the preprocessing of images on the host, without their bytes."""

    transform: Any
    shape: tuple[int, ...]


@dataclasses.dataclass(eq=False)
class _Recorded(Images):
    shape: tuple[int, ...]
    fill: Any
    requests: list[Array]

    def __getitem__(self, rows: Any) -> Array:
        rows = jnp.arange(len(self))[rows] if isinstance(by_row(rows), slice) else jnp.asarray(rows)
        self.requests.append(rows)
        return jnp.full((*rows.shape, *self.shape[1:]), self.fill, jnp.float32)


@dataclasses.dataclass(eq=False)
class _Supplied(Images):
    shape: tuple[int, ...]
    transform: Any
    pixels: Iterator[Array]

    def __getitem__(self, rows: Any) -> Array:
        return self.transform(next(self.pixels))


def on_host(tree: Any) -> list[HostRows]:
    """The images on the host in a tree, in the order of its leaves."""
    return [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, HostRows)]


def as_arrays(tree: Any) -> Any:
    """The tree with images on the host replaced by their arrays, those of the same images on the device."""
    return jax.tree.map(lambda leaf: leaf.arrays() if isinstance(leaf, HostRows) else leaf, tree)


def with_proxies(tree: Any) -> Any:
    """The tree with images on the host replaced by proxies."""

    def replaced(leaf: Any) -> Any:
        return Proxy(transform=leaf.transform, shape=leaf.shape) if isinstance(leaf, HostRows) else leaf

    return jax.tree.map(replaced, tree)


def recorded(tree: Any, fill: Any) -> tuple[Any, list[list[Array]]]:
    """A tree whose images are `fill` and record the rows that are requested of them.

    Args:
      tree: with proxies.
      fill: the value of every pixel.

    Returns:
      The tree, and for each of its images a list of the rows, which grows while a function requests them.
    """
    lists: list[list[Array]] = []

    def record_of(proxy: Proxy) -> _Recorded:
        lists.append([])
        return _Recorded(proxy.shape, fill, lists[-1])

    return _map(record_of, tree), lists


def supplied(tree: Any, pixels: list[list[Array]]) -> Any:
    """A tree whose images are those of `pixels`, in the order in which a function requests them.

    Args:
      tree: with proxies.
      pixels: the bytes of the rows that `recorded` lists.

    Returns:
      The tree.
    """
    lists = iter(pixels)
    return _map(lambda proxy: _Supplied(proxy.shape, proxy.transform, iter(next(lists))), tree)


def _map(function: Any, tree: Any) -> Any:
    """The tree with each proxy replaced by `function` of it."""

    def replaced(part: Any) -> Any:
        return function(part) if isinstance(part, Proxy) else part

    return jax.tree.map(replaced, tree, is_leaf=lambda part: isinstance(part, Proxy))
