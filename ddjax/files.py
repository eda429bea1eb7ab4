"""Where things are kept, and how a file is written so that nobody ever sees half of it."""

import contextlib
import hashlib
import os
import pathlib
import secrets
from collections.abc import Iterator
from typing import IO

import numpy as np


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
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


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
