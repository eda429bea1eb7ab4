"""Where things are kept, and how files and folders are written so that nobody ever sees half of one."""

import contextlib
import hashlib
import math
import os
import pathlib
import secrets
import shutil
from collections.abc import Callable, Iterator
from typing import IO, Any

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
    """A file that takes the place of `path` when the block ends well, and vanishes when it does not."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)  # as readable as the user's umask lets it be
    try:
        with os.fdopen(handle, mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
        sync(path.parent)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
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
    reason = error.strerror or str(error)
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


def read_npy(path: pathlib.Path, objects: Callable[[IO], Any] | None = None) -> Any:
    """The array of an .npy; a header that promises other than the file holds is refused before it costs memory.

    `objects` reads what follows a header that speaks of pickled ones; without it they are refused.
    """
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        if dtype.hasobject:
            if objects is None:
                raise ValueError("it holds pickled objects, which are refused")
            return objects(file)
        promised, held = math.prod(shape) * dtype.itemsize, os.fstat(file.fileno()).st_size - file.tell()
        if promised != held:
            raise ValueError(f"its header promises {promised} bytes of numbers, and it holds {held}")
        return np.frombuffer(file.read(), dtype).reshape(shape, order="F" if fortran else "C").copy()


def read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz; pickled objects are refused, and whatever else is wrong with the file is a ValueError."""
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:  # np.load alone leaks a broken zip
            arrays = {name: file[name] for name in file.files}
        if strange := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"members {strange[:3]} are no arrays")
        return arrays
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged archives raise nearly anything
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{path} is not a readable .npz of plain arrays (pickled objects are refused): {reason}"
        ) from error


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
