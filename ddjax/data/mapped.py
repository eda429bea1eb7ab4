"""Arrays of images that are too large for memory, in files that are mapped into it."""

import pathlib
import secrets

import numpy as np
from jaxtyping import Shaped, UInt8

LARGE = 2**28  # bytes of an array that is made in a file, if there is a folder for it
_AT_ONCE = 1024  # rows


def empty(shape: tuple[int, ...], file: pathlib.Path | None) -> UInt8[np.ndarray, "..."]:
    """An array to be filled: in memory, or in a new file if it is large and there is a place for it."""
    if file is None or int(np.prod(shape, dtype=float)) < LARGE:
        return np.empty(shape, np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    return np.lib.format.open_memmap(file, "w+", np.uint8, shape)


def taken(images: UInt8[np.ndarray, "n ..."], rows: Shaped[np.ndarray, "m"]) -> UInt8[np.ndarray, "k ..."]:
    """`images[rows]`, for numbers of rows or a mask. For an array in a file it is a part of it, or in another file.

    Example:
      >>> taken(np.arange(3, dtype=np.uint8), np.array([True, False, True])).tolist()
      [0, 2]
    """
    source = getattr(images, "filename", None)  # None for an array in memory
    if source is None:
        return images[rows]
    numbers = np.arange(len(images))[rows]
    if images.flags.c_contiguous and (np.diff(numbers) == 1).all():
        return images[numbers[0] : numbers[-1] + 1] if len(numbers) else images[:0]
    file = pathlib.Path(source).with_name(f"{secrets.token_hex(8)}.npy")
    made = np.lib.format.open_memmap(file, "w+", np.uint8, (len(numbers), *images.shape[1:]))
    for first in range(0, len(numbers), _AT_ONCE):
        made[first : first + _AT_ONCE] = images[numbers[first : first + _AT_ONCE]]
    return made
