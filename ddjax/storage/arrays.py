"""Reading of .npy and .npz files: no pickled objects, and no allocation for a header that contradicts the file."""

import math
import os
import pathlib
import sys
import zipfile
from collections.abc import Callable, Collection
from typing import IO, Any, NamedTuple

import numpy as np


class Header(NamedTuple):
    """The header of an .npy."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the array in memory."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy(path: pathlib.Path, objects: Callable[[IO], Any] | None = None) -> Any:
    """Read the array of an .npy. A header that contradicts the file size is refused before memory is allocated.

    Args:
      path: the file.
      objects: reads pickled objects from the open file. By default they are refused.

    Raises:
      ValueError: the file is damaged, holds pickled objects, or needs more memory than this machine has.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if objects is not None and _header(file).dtype.hasobject:
            return objects(file)
        return _array(file, size)


def npz_headers(path: pathlib.Path) -> dict[str, Header]:
    """Shape and dtype of each array of an .npz, without reading the arrays. Raises the errors of `read_npz`."""
    return _members(path, None, _checked_header)


def read_npz(path: pathlib.Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is damaged, holds pickled objects, or needs more memory than this machine has.
    """
    return _members(path, names, _array)


def _members(path: pathlib.Path, names: Collection[str] | None, read: Callable[[IO, int], Any]) -> dict[str, Any]:
    try:
        if not zipfile.is_zipfile(path):
            os.stat(path)  # raises FileNotFoundError if there is no file
            raise ValueError("it is not a zip archive, as numpy.savez writes")
        with zipfile.ZipFile(path) as archive:
            arrays = {}
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if names is not None and name not in names:
                    continue
                try:
                    with archive.open(member) as stream:
                        arrays[name] = read(stream, member.file_size)
                except ValueError as error:
                    raise ValueError(f"{name!r}: {error}") from error
        return arrays
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged archives raise many kinds of errors
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is not a readable .npz of plain arrays: {reason}") from error


def _header(stream: IO) -> Header:
    stream.seek(0)
    if stream.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
        raise ValueError("it is not an array, as numpy.save writes")
    stream.seek(0)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return Header(shape, dtype)


def _checked_header(stream: IO, size: int) -> Header:
    """The header of a stream of `size` bytes, if it describes numbers of that size that fit in memory."""
    header = _header(stream)
    if header.dtype.hasobject:
        raise ValueError("pickled objects are refused; save plain arrays")
    if header.nbytes != (held := size - stream.tell()):
        raise ValueError(f"its header announces {header.nbytes} bytes of numbers, but it holds {held}")
    if header.nbytes > (memory := _memory()):
        raise ValueError(f"it takes {header.nbytes / 2**30:.1f} GiB, and this machine has {memory / 2**30:.1f} GiB")
    return header


def _memory() -> int:
    """Bytes of memory of this machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # not available on every system
        return sys.maxsize


def _array(stream: IO, size: int) -> np.ndarray:
    _checked_header(stream, size)
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)
