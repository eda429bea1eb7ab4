"""Arrays of images that are too large for memory, in files that are mapped into it."""

import errno
import os
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
    return in_file(shape, file)


def in_file(shape: tuple[int, ...], file: pathlib.Path) -> UInt8[np.ndarray, "..."]:
    """An array in a new file. Its space is reserved now: a full disk would end the process when a row is written.

    Raises:
      OSError: there is too little space; the message names the file.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    array = np.lib.format.open_memmap(file, "w+", np.uint8, shape)
    if not hasattr(os, "posix_fallocate"):  # as on macOS
        return array
    try:
        with open(file, "r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return array  # not available on every file system
        file.unlink()
        needs = f"{array.nbytes / 2**30:.1f} GiB of images: free it, or point $DDJAX_CACHE to another disk"
        raise OSError(error.errno, f"{error.strerror} for {needs}", str(file)) from error
    return array


def taken(images: UInt8[np.ndarray, "n ..."], rows: Shaped[np.ndarray, "m"]) -> UInt8[np.ndarray, "k ..."]:
    """`images[rows]`, for numbers of rows or a mask.

    Of an array in a file, adjacent rows are a view, and others are copied to another file.

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
    made = in_file((len(numbers), *images.shape[1:]), file)
    for first in range(0, len(numbers), _AT_ONCE):
        made[first : first + _AT_ONCE] = images[numbers[first : first + _AT_ONCE]]
    return made
