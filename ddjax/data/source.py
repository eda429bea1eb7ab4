"""Sources of data sets: their identity, how they are read, and listings of folders."""

import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ddjax.data.dataset import Dataset

Entry = tuple[str, os.stat_result]  # path relative to the listed folder, with forward slashes


class Work(NamedTuple):
    """Where a large data set is read into arrays in files."""

    folder: pathlib.Path  # made when it is needed; what an interrupted reading left there is continued
    report: Callable[[int, int], None]  # receives the numbers of files that are read, and of all files


class Source(NamedTuple):
    """A data set that has been found but not read."""

    name: str
    identity: dict[str, Any]  # JSON of everything that determines the arrays; empty if they are not cached
    read: Callable[..., Dataset]  # (work = None) -> the data; without a `Work` all arrays are in memory


def walk(root: str | os.PathLike, prefix: str = "", loops: list[str] | None = None) -> Iterator[Entry]:
    """List every file below `root`, sorted by name in each folder, following symbolic links.

    Hidden files and folders, and `__MACOSX`, are skipped.

    Args:
      root: the folder.
      prefix: of each name.
      loops: if given, receives a message for each link to a folder above it. Such links are not followed.

    Yields:
      The name and status of each file.

    Raises:
      ValueError: there is a link to a folder above it, and `loops` is not given.
    """
    yield from _walk(os.fspath(root), prefix, (os.path.realpath(root),), loops)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is skipped."""
    return name.startswith(".") or name == "__MACOSX"


def leads_back(path: str | os.PathLike, above: tuple[str, ...]) -> bool:
    """Whether `path` resolves to one of the folders `above`, given by real paths, or to a folder that contains them."""
    real = os.path.realpath(path)
    return any(os.path.commonpath([real, folder]) == real for folder in above)


def _walk(folder: str, prefix: str, above: tuple[str, ...], loops: list[str] | None) -> Iterator[Entry]:
    """`above` holds the real paths of the folders from the root to `folder`."""
    with os.scandir(folder) as scanned:
        entries = sorted(scanned, key=lambda entry: entry.name)
    for entry in entries:
        if is_hidden(entry.name):
            continue
        name, is_link = prefix + entry.name, entry.is_symlink()
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link to itself
            is_folder = is_file = False
        if not is_folder:
            dangling = is_link and not is_file  # listed, so that reading it raises an error that names it
            yield name, entry.stat(follow_symlinks=not dangling)
            continue
        real = os.path.realpath(entry.path)
        if is_link and leads_back(entry.path, above):
            loop = f"{entry.path!r} is a link to {real!r}, a folder that contains it: remove the link"
            if loops is None:
                raise ValueError(loop)
            loops.append(loop)
        else:
            yield from _walk(entry.path, f"{name}/", (*above, real), loops)


def listing_digest(entries: Iterable[Entry]) -> str:
    """SHA-256 over name, size and modification time of files."""
    digest = hashlib.sha256()
    for name, status in entries:
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
