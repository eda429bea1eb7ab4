"""Directories of the library, atomic replacement of files and folders, and digests."""

import contextlib
import hashlib
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator
from typing import IO

import numpy as np

OLD = ".old"  # suffix of a folder that is being replaced
ASIDE = ".aside-"  # prefix of a temporary folder; a killed process leaves one behind


def expanded(path: str | os.PathLike) -> pathlib.Path:
    """A path with a home directory in place of ~; that of an unknown user, ~NAME/..., stays as it is."""
    return pathlib.Path(os.path.expanduser(path))


def cache_dir() -> pathlib.Path:
    """The directory of everything that can be computed again: `$DDJAX_CACHE`, or `~/.cache/ddjax`."""
    return expanded(os.environ.get("DDJAX_CACHE") or "~/.cache/ddjax")


def data_dir() -> pathlib.Path:
    """The TFDS directory: `$TFDS_DATA_DIR`, or `~/tensorflow_datasets`."""
    return expanded(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")


def manual_dir(root: pathlib.Path | None = None) -> pathlib.Path:
    """The directory of files that TFDS expects to be downloaded by hand."""
    return (root or data_dir()) / "downloads" / "manual"


@contextlib.contextmanager
def replacing(path: pathlib.Path, mode: str = "wb") -> Iterator[IO]:
    """A temporary file that is renamed to `path` when the block succeeds, and removed when it raises. Text is UTF-8.

    Args:
      path: the file.
      mode: "wb" or "w".

    Raises:
      OSError: the file could not be written; the earlier one is intact.

    Example:
      >>> import tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "new" / "a.txt"
      >>> with replacing(path, "w") as file:
      ...     _ = file.write("text")
      >>> path.read_text()
      'text'
    """
    path = pathlib.Path(path)
    name = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)  # the permissions follow the umask
        with os.fdopen(handle, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
        sync(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):  # it does not exist
            os.unlink(name)
        if isinstance(error, OSError):
            raise _unwritten(error, path) from error
        raise


@contextlib.contextmanager
def replacing_folder(path: pathlib.Path, *, keep: bool = False) -> Iterator[pathlib.Path]:
    """A temporary folder that is renamed to `path` when the block succeeds, and removed when it raises.

    Args:
      path: the folder.
      keep: whether a folder that exists at `path` is kept, instead of the new one.

    Raises:
      OSError: the folder could not be written; the earlier one is intact.
    """
    path = pathlib.Path(path)
    aside = path.with_name(f"{ASIDE}{path.name}.{secrets.token_hex(8)}")
    old = aside.with_name(aside.name + OLD)
    try:
        aside.mkdir(parents=True)
        yield aside
        for inner in [*aside.rglob("*"), aside]:
            sync(inner)
        if path.exists() and not keep:
            os.rename(path, old)
        try:
            os.rename(aside, path)
        except OSError:
            if old.exists():
                os.rename(old, path)
            if not (keep and path.is_dir()):
                raise
        remove(old)
        sync(path.parent)
    except OSError as error:
        raise _unwritten(error, path) from error
    finally:
        remove(aside)  # renamed already if the block succeeded


def sync(path: pathlib.Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritten(error: OSError, path: pathlib.Path) -> OSError:
    """The same error, with the path, and the note that the earlier content is intact."""
    reason = os.strerror(error.errno) if error.errno else str(error)  # a nested error has the note already
    return type(error)(error.errno, f"{reason}: not written, and what was there before is as it was", str(path))


def interrupted(folder: pathlib.Path) -> set[str]:
    """The names of the folders in `folder` that a process is replacing, or was when it was killed."""
    return {_name(aside) for aside in folder.glob(f"{ASIDE}*")}


def tidied(folder: pathlib.Path, only: str = "*") -> None:
    """Remove the temporary folders of killed processes; no process may be writing into `folder` now.

    A folder that was moved out of the way, and whose replacement did not arrive, is moved back.

    Args:
      folder: the folder.
      only: the name of the folder that was being replaced; by default all.
    """
    for aside in folder.glob(f"{ASIDE}{only}.*"):
        name = _name(aside)
        if aside.suffix == OLD and not (folder / name).exists():
            os.rename(aside, folder / name)
        else:
            remove(aside)


def _name(aside: pathlib.Path) -> str:
    """The name of the folder that a temporary one replaces."""
    return aside.name.removeprefix(ASIDE).removesuffix(OLD).rpartition(".")[0]


def remove(path: pathlib.Path) -> None:
    """Remove a folder or a file, if it exists and can be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def sha256(path: pathlib.Path) -> str:
    """SHA-256 of the bytes of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def array_digest(*arrays: np.ndarray) -> str:
    """First 16 hex digits of SHA-256 over dtype, shape and bytes of each array, used as the key of a cached result.

    Example:
      >>> array_digest(np.arange(3)) == array_digest(np.arange(3)), len(array_digest(np.arange(3)))
      (True, 16)
    """
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()[:16]
