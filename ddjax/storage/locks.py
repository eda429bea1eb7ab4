"""A lock on a file, which also records the process that holds it.

The lock (flock) ends with its process, so a stale file blocks nobody. Between hosts it needs a network file system that
supports flock, such as NFS.
"""

import contextlib
import datetime
import json
import logging
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import IO

log = logging.getLogger("ddjax.storage.locks")


class Held(ValueError):
    """Another process holds the lock."""


@contextlib.contextmanager
def alone(path: pathlib.Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock in this block: one process at a time for each `path`.

    Args:
      path: the lock file; it is made if it does not exist.
      what: the locked thing, for messages.
      wait: whether to wait for the lock, or to raise an error.

    Raises:
      Held: another process holds the lock, and `wait` is False.

    Example:
      >>> import tempfile
      >>> with alone(pathlib.Path(tempfile.mkdtemp()) / "lock", "the run"):
      ...     pass
    """
    import fcntl  # not available on every system, and needed only to write

    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # unbuffered, so that a write that fails on a full disk is not repeated when the file is closed
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise Held(
                    f"{what} is held by {holder(path)}: wait until it has ended, stop it, or name another directory"
                ) from None
            log.warning("%s is held by %s; waiting for it", what, holder(path))
            fcntl.flock(file, fcntl.LOCK_EX)
        if left := file.read():
            log.info("%s was locked by %s, which has ended; continuing", what, _described(left))
        _note(file, json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": _now()}))
        try:
            yield
        finally:
            _note(file, "")


def holder(path: pathlib.Path) -> str:
    """A description of the process that holds the lock."""
    try:
        return _described(path.read_text())
    except OSError:
        return "another process"


def _described(text: str | bytes) -> str:
    try:
        owner = json.loads(text)
        return f"process {owner['pid']} on {owner['host']} (since {owner['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _note(file: IO[bytes], text: str) -> None:
    with contextlib.suppress(OSError):  # on a full disk the lock holds without a name
        file.seek(0)
        file.truncate()
        file.write(text.encode())


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
