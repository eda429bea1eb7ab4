"""Images that are stored as bytes: rows of them are preprocessed when they are asked for.

`images[rows]` gives floats in the space of a method, for images on the device (`Rows`) and on the host (`HostRows`)
alike. A compiled program cannot read the host. `away`, `asking` and `answering` divide a function that asks for rows
into one that only computes their numbers and one that is given the pixels.
"""

import dataclasses
import mmap
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from ddjax.trees import record

Transform = Callable[[UInt8[Array, "... h w c"]], Float[Array, "... h w c"]]  # a pytree whose leaves are arrays

_AT_ONCE = 1024  # rows that are read between two releases of pages
MAPPED_BYTES = 2**30  # of a file whose pages stay mapped once they are read


class Images:
    """What all images in this module have in common: they look like floats [n h w c] that are read by row."""

    shape: tuple[int, ...]
    ndim = 4
    dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        """The number of images."""
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        """Preprocessed images, for whole numbers of any shape or a slice of rows."""
        raise TypeError(
            "the images are on the host, and a compiled program cannot read them: ask for them outside of it, or in a "
            "feed as data.images[rows]"
        )

    def part(self, rows: Int[np.ndarray, "m"]) -> "Images":
        """The images of these rows."""
        raise TypeError("a compiled program cannot divide images on the host: do so outside of it")


@record()
class Rows(Images):
    """Images on the device, as bytes."""

    pixels: Any  # uint8 [n h w c]
    transform: Any  # a Transform

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """[n h w c]."""
        return tuple(self.pixels.shape)

    def __getitem__(self, rows: Any) -> Float[Array, "... h w c"]:
        """Preprocessed images, for whole numbers of any shape or a slice of rows."""
        rows = by_row(rows)
        return _transformed(self.transform, self.pixels[rows]) if isinstance(rows, slice) else _read(self, rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All images as floats, for code that does not ask by row."""
        return np.asarray(self[:], dtype)

    def part(self, rows: Int[np.ndarray, "m"]) -> "Rows":
        """The images of these rows."""
        return dataclasses.replace(self, pixels=self.pixels[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class HostRows(Images):
    """Images in the memory of the host, or in a memory-mapped file, as bytes. It is not a pytree, but a leaf."""

    pixels: UInt8[np.ndarray, "all h w c"]
    transform: Transform
    rows: Int[np.ndarray, "n"] | None = None  # of `pixels`; None for all

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """[n h w c]."""
        return (len(self.pixels if self.rows is None else self.rows), *self.pixels.shape[1:])

    def __getitem__(self, rows: Any) -> Float[Array, "... h w c"]:
        """Preprocessed images on the device, for whole numbers of any shape or a slice of rows."""
        return _transformed(self.transform, jnp.asarray(self.read(rows)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Refuse: all images as floats are what does not fit."""
        raise TypeError(
            f"{len(self)} images are kept on the host as bytes, because they are many. Ask for some of them, by "
            'images[rows], or keep them on the device with images="device"'
        )

    def read(self, rows: Any) -> UInt8[np.ndarray, "... h w c"]:
        """The bytes of some rows, in the memory of the host."""
        rows = by_row(rows)
        if isinstance(rows, slice) and self.rows is None:
            return self.pixels[rows]
        numbers = np.asarray(rows if self.rows is None else self.rows[rows])
        flat = numbers.reshape(-1)
        read = np.empty((len(flat), *self.shape[1:]), np.uint8)
        for first in range(0, len(flat), _AT_ONCE):
            read[first : first + _AT_ONCE] = self.pixels[flat[first : first + _AT_ONCE]]
            release(self.pixels)
        return read.reshape(*numbers.shape, *self.shape[1:])

    def arrays(self) -> Any:
        """Everything that decides the images."""
        return () if self.rows is None else self.rows, Rows(pixels=self.pixels, transform=self.transform)

    def part(self, rows: Int[np.ndarray, "m"]) -> "HostRows":
        """The images of these rows; nothing is read."""
        return dataclasses.replace(self, rows=np.asarray(rows) if self.rows is None else self.rows[rows])


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


def by_row(rows: Any) -> Any:
    """`rows` if they are numbers or a slice of rows.

    Raises:
      TypeError: they also cut the images.
    """
    if isinstance(rows, tuple) or rows is Ellipsis or rows is None:
        raise TypeError(f"images stored as bytes are read by row, images[rows]; got images[{rows!r}]")
    return rows


def by_rows(images: Any) -> Any:
    """Images that can be asked by row: as they are if they are stored as bytes, else an array on the device."""
    return images if isinstance(images, Images) else jnp.asarray(images)


def release(array: np.ndarray) -> None:
    """Give the pages of a large array that is mapped from a file for reading back to the system.

    Otherwise all pages that were ever read count as memory of this process. The system keeps them in its cache, from
    which a row is read again in about 15 microseconds. Other arrays stay as they are.
    """
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    large = array.nbytes > MAPPED_BYTES and not array.flags.writeable
    if base is not None and large and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def part_of(images: Any, rows: Int[np.ndarray, "m"]) -> Any:
    """The images of some rows; those of images stored as bytes are stored as bytes. Other arrays are taken likewise."""
    return images.part(rows) if isinstance(images, Images) else jnp.asarray(images)[rows]


@record()
class Mirrored:
    """A transform of bytes, and then the mirror image."""

    transform: Any

    def __call__(self, pixels: UInt8[Array, "... h w c"]) -> Float[Array, "... h w c"]:
        """The images in the space of the transform, left and right exchanged."""
        return self.transform(pixels)[..., ::-1, :]


def mirrored(images: Any) -> Any:
    """The mirror images, stored as the images are."""
    if isinstance(images, Rows | HostRows):
        return dataclasses.replace(images, transform=Mirrored(transform=images.transform))
    return images[:, :, ::-1]


def as_stored(images: Any) -> np.ndarray:
    """The array on the host that decides the images: bytes, or floats that are not stored as bytes."""
    if isinstance(images, HostRows):
        return images.read(slice(None))
    return np.asarray(images.pixels if isinstance(images, Rows) else images)


def in_blocks(images: Any, size: int = 4096) -> Iterator[Array]:
    """All images in order, in blocks: an array as one, images stored as bytes by `size`."""
    if not isinstance(images, Images):
        yield images
        return
    for first in range(0, len(images), size):
        yield images[first : first + size]


@jax.jit
def _read(images: Rows, rows: Any) -> Array:
    return images.transform(images.pixels[rows])


@jax.jit
def _transformed(transform: Transform, pixels: Array) -> Array:
    return transform(pixels)


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
