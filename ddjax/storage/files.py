"""Where things are kept, and how files and folders are written so that nobody ever sees half of one."""

import contextlib
import hashlib
import math
import os
import pathlib
import secrets
import shutil
import sys
import zipfile
from collections.abc import Callable, Collection, Iterator
from typing import IO, Any, NamedTuple

import numpy as np

ASIDE = ".aside-"  # begins the name of a folder that is being written, or that a killed process left half written


def cache_dir() -> pathlib.Path:
    """Everything that can be computed again: `$DDJAX_CACHE`, or `~/.cache/ddjax`."""
    return pathlib.Path(os.environ.get("DDJAX_CACHE", "~/.cache/ddjax")).expanduser()


def data_dir() -> pathlib.Path:
    """The TFDS directory: `$TFDS_DATA_DIR`, or `~/tensorflow_datasets`."""
    return pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def manual_dir(root: pathlib.Path | None = None) -> pathlib.Path:
    """Where TFDS looks for files that were downloaded by hand."""
    return (root or data_dir()) / "downloads" / "manual"


@contextlib.contextmanager
def replacing(path: pathlib.Path, mode: str = "wb") -> Iterator[IO]:
    """A file that takes the place of `path` when the block ends well, and vanishes when it does not; text is UTF-8."""
    path = pathlib.Path(path)
    name = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)  # as readable as the user's umask lets it be
        with os.fdopen(handle, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
        sync(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):  # it was never made
            os.unlink(name)
        if isinstance(error, OSError):
            raise _unwritten(error, path) from error
        raise


@contextlib.contextmanager
def replacing_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder aside that takes the place of `path`, its files synced, when the block ends well; else it vanishes."""
    path = pathlib.Path(path)
    aside = path.with_name(f"{ASIDE}{path.name}.{secrets.token_hex(8)}")
    old = aside.with_name(aside.name + ".old")
    try:
        aside.mkdir(parents=True)
        yield aside
        for inner in [*aside.rglob("*"), aside]:
            sync(inner)
        if path.exists():
            os.rename(path, old)
        os.rename(aside, path)
        sync(path.parent)
    except OSError as error:
        raise _unwritten(error, path) from error
    finally:
        remove(aside)  # it is gone if all went well
        remove(old)


def sync(path: pathlib.Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritten(error: OSError, path: pathlib.Path) -> OSError:
    """The same error, saying what was not written and that nothing was lost."""
    reason = os.strerror(error.errno) if error.errno else str(error)  # once, where a file of a folder is not written
    return type(error)(error.errno, f"{reason}: not written, and what was there before is as it was", str(path))


def tidied(folder: pathlib.Path) -> None:
    """Remove what killed processes left aside in a folder that nobody writes into now."""
    for aside in folder.glob(f"{ASIDE}*"):
        remove(aside)


def remove(path: pathlib.Path) -> None:
    """Remove a folder or a file, if it is there and can be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


class Header(NamedTuple):
    """What an array says of itself before its numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """What the array takes in memory."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy(path: pathlib.Path, objects: Callable[[IO], Any] | None = None) -> Any:
    """The array of an .npy; a header that promises other than the file holds is refused before it costs memory.

    `objects` reads what follows a header that speaks of pickled ones; without it they are refused.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if objects is not None and _header(file).dtype.hasobject:
            return objects(file)
        return _array(file, size)


def npz_headers(path: pathlib.Path) -> dict[str, Header]:
    """Shape and dtype of each array of an .npz, without its numbers; raises as `read_npz` does."""
    return _each(path, None, _checked_header)


def read_npz(path: pathlib.Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an .npz.

    Args:
      path: the file.
      names: which arrays; by default all.

    Returns:
      The arrays by name.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is damaged, holds pickled objects, or holds more than fits into this machine's memory.
    """
    return _each(path, names, _array)


def _each(path: pathlib.Path, names: Collection[str] | None, read: Callable[[IO, int], Any]) -> dict[str, Any]:
    try:
        if not zipfile.is_zipfile(path):
            os.stat(path)  # a file that is not there is a FileNotFoundError
            raise ValueError("it is no zip archive, as numpy.savez writes")
        with zipfile.ZipFile(path) as archive:
            found = {}
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if names is not None and name not in names:
                    continue
                try:
                    with archive.open(member) as stream:
                        found[name] = read(stream, member.file_size)
                except ValueError as error:
                    raise ValueError(f"{name!r}: {error}") from error
        return found
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged archives raise nearly anything
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is not a readable .npz of plain arrays: {reason}") from error


def _header(stream: IO) -> Header:
    stream.seek(0)
    if stream.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
        raise ValueError("it is no array, as numpy.save writes")
    stream.seek(0)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return Header(shape, dtype)


def _checked_header(stream: IO, size: int) -> Header:
    """The header of a stream of `size` bytes, once it promises numbers, as many as follow, that fit into memory."""
    header = _header(stream)
    if header.dtype.hasobject:
        raise ValueError("pickled objects are refused; save plain arrays")
    if header.nbytes != (held := size - stream.tell()):
        raise ValueError(f"its header promises {header.nbytes} bytes of numbers, and it holds {held}")
    if header.nbytes > (memory := _memory()):
        raise ValueError(f"it takes {header.nbytes / 2**30:.1f} GiB, and this machine has {memory / 2**30:.1f} GiB")
    return header


def _memory() -> int:
    """Bytes of memory of this machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # not on every system
        return sys.maxsize


def _array(stream: IO, size: int) -> np.ndarray:
    _checked_header(stream, size)
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def sha256(path: pathlib.Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def array_digest(*arrays: np.ndarray) -> str:
    """First 16 hex digits of SHA-256 over dtype, shape and bytes of each array: the key of a cached result."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(memoryview(array).cast("B"))
    return digest.hexdigest()[:16]
