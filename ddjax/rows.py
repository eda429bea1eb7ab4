"""Images that are stored as bytes: rows of them are preprocessed when they are asked for.

`images[rows]` gives floats in the space of a method, for images on the device (`Rows`) and on the host (`HostRows`)
alike. A compiled program cannot read the host; `execution.proxies` divides a function that would have to.
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

    def __iter__(self) -> Iterator[Any]:
        """The images, one after the other. By Python's default JAX would repeat the last one for ever."""
        return map(self.__getitem__, range(len(self)))

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


def by_row(rows: Any) -> Any:
    """`rows` if they are numbers or a slice of rows.

    Raises:
      TypeError: they also cut the images, or are a mask.
    """
    if isinstance(rows, tuple) or rows is Ellipsis or rows is None or getattr(rows, "dtype", None) == np.bool_:
        raise TypeError(f"images stored as bytes are read by row, images[rows]; got images[{rows!r}]")
    return rows


def by_rows(images: Any) -> Any:
    """Images that can be asked by row: as they are if they are stored as bytes, else an array on the device."""
    return images if isinstance(images, Images) else jnp.asarray(images)


def as_floats(images: Any) -> Float[Array, "n h w c"]:
    """All images on the device as floats.

    Raises:
      TypeError: they are stored as bytes on the host, where all of them as floats are what does not fit.
    """
    return images[:] if isinstance(images, Rows) else jnp.asarray(images)


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


def blocks(images: Any, size: int = 4096) -> Iterator[Array]:
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
