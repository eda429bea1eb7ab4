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


def walk(root: str | os.PathLike, prefix: str = "", _above: frozenset = frozenset()) -> Iterator[Entry]:
    """Every file below `root`, sorted by name in each folder, through symbolic links.

    A link back to a folder above is not followed, so loops end. Hidden files and folders, and `__MACOSX`, are left out.
    """
    status = os.stat(root)
    above = _above | {(status.st_dev, status.st_ino)}
    with os.scandir(root) as scanned:
        entries = sorted(scanned, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link in a circle
            is_folder = is_file = False
        if not is_folder:
            dangling = entry.is_symlink() and not is_file  # listed, so that reading it can say what is wrong
            yield prefix + entry.name, entry.stat(follow_symlinks=not dangling)
        elif ((inner := entry.stat()).st_dev, inner.st_ino) not in above:
            yield from walk(entry.path, f"{prefix}{entry.name}/", above)


def listing_digest(entries: Iterable[Entry]) -> str:
    """SHA-256 over name, size and modification time of files: changes when any of them is edited."""
    digest = hashlib.sha256()
    for name, status in entries:
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
