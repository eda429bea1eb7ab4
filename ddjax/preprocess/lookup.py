"""Images stored as bytes, with a preprocessing that is applied to the rows that are asked for."""

import contextlib
import contextvars
import logging
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8

from ddjax import machine
from ddjax.names import check_known
from ddjax.preprocess.transform import Preprocess, before_whitening, check, whitened
from ddjax.rows import HostRows, Rows
from ddjax.trees import record

log = logging.getLogger("ddjax.images")

PLACES = ("auto", "device", "host")
FEWEST = 64  # rows of a product by the whitening: with fewer, a CPU adds in another order
SHARE = 0.25  # largest part of a device's memory that the images of a training set may take

_auto: contextvars.ContextVar[str] = contextvars.ContextVar("auto", default="auto")
_logged: contextvars.ContextVar[set[str] | None] = contextvars.ContextVar("logged", default=None)


@record()
class Lookup:
    """A transform of bytes: a table of the 256 values of each channel, and the whitening if there is one.

    A value of the table has the bits that `apply` computes, in every program: no compiler rounds a table in another
    way. The whitening is a product of all images that are asked for together; its table has a row for each pixel. On a
    CPU an image has the same bits in products of 64 images and more, so smaller ones are filled up.
    """

    table: Any  # float32 [c 256], or [h w c 256] before a whitening
    zca: Any = None  # float32 [d d]

    def __call__(self, pixels: UInt8[Array, "... h w c"]) -> Float[Array, "... h w c"]:
        """The images in the space of the transform."""
        sizes = self.table.shape[:-1]
        first = 256 * np.arange(np.prod(sizes), dtype=np.int32).reshape((1,) * (pixels.ndim - len(sizes)) + sizes)
        x = self.table.reshape(-1).at[pixels.astype(jnp.int32) + first].get(mode="promise_in_bounds")
        if self.zca is None:
            return x
        flat = x.reshape(-1, *x.shape[-3:])
        missing = max(0, FEWEST - len(flat))
        return whitened(jnp.pad(flat, ((0, missing), *[(0, 0)] * 3)), self.zca)[: len(flat)].reshape(x.shape)


def lookup(p: Preprocess, shape: tuple[int, ...]) -> Lookup:
    """The transform as a table.

    Example:
      >>> bytes_to_unit = lookup(Preprocess(name="unit", fingerprint="unit:0"), (1, 1, 1))
      >>> bytes_to_unit(jnp.full((1, 1, 1, 1), 255, jnp.uint8)).item()
      1.0
    """
    sizes = shape[-1:] if p.zca is None else shape
    values = np.arange(256, dtype=np.uint8).reshape(256, *(1,) * 3)
    table = _before_whitening(p, np.broadcast_to(values, (256, *(1, 1, *sizes)[-3:])))
    return Lookup(table=jnp.moveaxis(table, 0, -1).reshape(*sizes, 256), zca=p.zca)


_before_whitening = jax.jit(before_whitening)


def check_place(place: str) -> None:
    """Raise a ValueError for an unknown place of images."""
    check_known("place of images", place, PLACES)


@contextlib.contextmanager
def placing(place: str) -> Iterator[None]:
    """Within the block, the place "auto" means this place, and `stored` logs the same images once.

    Args:
      place: "device", "host" or "auto".

    Raises:
      ValueError: the place is unknown.

    Example:
      >>> with placing("host"):
      ...     chosen("auto", 1)
      'host'
    """
    check_place(place)
    token, before = _auto.set(place), _logged.get()
    logged = _logged.set(set() if before is None else before)
    try:
        yield
    finally:
        _auto.reset(token)
        _logged.reset(logged)


def chosen(place: str, size: int) -> str:
    """The place of images of `size` bytes: for "auto" the device, if they take at most a quarter of its memory."""
    check_place(place)
    place = _auto.get() if place == "auto" else place
    if place != "auto":
        return place
    memory = machine.memory()
    return "device" if memory is None or size <= SHARE * memory else "host"


def stored(p: Preprocess, images: Shaped[Any, "n h w c"], place: str = "auto") -> Rows | HostRows:
    """Keep images as bytes. They are preprocessed when rows of them are asked for, `images[rows]`.

    Args:
      p: the transform.
      images: uint8 pixels, perhaps memory-mapped.
      place: "device", "host", or "auto" for the device if the images take at most a quarter of its memory (see also
        `placing`). The place is logged. Results do not depend on it.

    Returns:
      The images.

    Raises:
      ValueError: the images are not bytes or do not fit the transform, or the place is unknown.

    Example:
      >>> images = stored(Preprocess(name="unit", fingerprint="unit:0"), np.zeros((2, 1, 1, 1), np.uint8), "host")
      >>> images[np.array([0])].shape
      (1, 1, 1, 1)
    """
    there = chosen(place, images.size)
    if images.dtype != np.uint8:
        raise ValueError(f"only uint8 pixels are stored as bytes; got {images.dtype}{list(images.shape)}")
    check(p, images.shape)
    memory = machine.memory()
    words = (
        f"images: on the {there}, {len(images)} of {' x '.join(map(str, images.shape[1:]))}, {images.size / 2**30:.3f} "
        f"GiB of bytes (memory of the device: {'unknown' if memory is None else f'{memory / 2**30:.1f} GiB'})"
    )
    logged = _logged.get()
    if logged is None or words not in logged:
        log.info("%s", words)
    if logged is not None:
        logged.add(words)
    transform = lookup(p, tuple(images.shape[1:]))
    if there == "device":
        return Rows(pixels=jnp.asarray(images), transform=transform)
    return HostRows(np.asarray(images), transform)
