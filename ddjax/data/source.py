"""Where a data set comes from: what identifies it, and how it is read."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ddjax.data.dataset import Dataset

Entry = tuple[str, os.stat_result]  # path relative to the folder listed, with forward slashes


class Source(NamedTuple):
    """A data set that has been found but not read."""

    name: str
    identity: dict[str, Any]  # JSON; whatever would change the arrays changes this; empty: they are not worth keeping
    read: Callable[[], Dataset]


def walk(root: str | os.PathLike, prefix: str = "", loops: list[str] | None = None) -> Iterator[Entry]:
    """Every file below `root`, sorted by name in each folder, through symbolic links.

    Hidden files and folders, and `__MACOSX`, are left out.

    Args:
      root: the folder.
      prefix: what each name begins with.
      loops: collects a sentence for each link that leads back to a folder above it; none of them is followed.

    Raises:
      ValueError: there is such a link, and `loops` is not given.
    """
    yield from _walk(os.fspath(root), prefix, (os.path.realpath(root),), loops)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is never part of a data set."""
    return name.startswith(".") or name == "__MACOSX"


def leads_back(path: str | os.PathLike, above: tuple[str, ...]) -> bool:
    """Whether `path` leads to one of the folders `above`, given by real paths, or to one that contains them."""
    real = os.path.realpath(path)
    return any(os.path.commonpath([real, each]) == real for each in above)


def _walk(folder: str, prefix: str, above: tuple[str, ...], loops: list[str] | None) -> Iterator[Entry]:
    """`above` holds the real paths of the folders on the way from the root, `folder` being the last."""
    with os.scandir(folder) as scanned:
        entries = sorted(scanned, key=lambda entry: entry.name)
    for entry in entries:
        if is_hidden(entry.name):
            continue
        name, is_link = prefix + entry.name, entry.is_symlink()
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link that leads to itself
            is_folder = is_file = False
        if not is_folder:
            dangling = is_link and not is_file  # listed, so that reading it can say what is wrong
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
    """SHA-256 over name, size and modification time of files: changes when any of them is edited."""
    digest = hashlib.sha256()
    for name, status in entries:
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
