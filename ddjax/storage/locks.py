"""One process at a time: a lock on a file, which also says who holds it.

The lock goes with the process that holds it, however that ends, so a stale one stops nobody (flock, which a network
file system must carry between hosts, as NFS does).
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
    """No other process is in this block with the same `path`; where one is, `Held` says who, or we wait for it."""
    import fcntl  # not on every system, and only needed to write

    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # without a buffer: what a full disk refuses is not tried again when the file is closed
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
            log.info("%s was left behind by %s, which is gone; going on", what, _described(left))
        _note(file, json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": _now()}))
        try:
            yield
        finally:
            _note(file, "")


def holder(path: pathlib.Path) -> str:
    """Who holds the lock, in words."""
    try:
        return _described(path.read_text())
    except OSError:
        return "another process"


def _described(text: str | bytes) -> str:
    try:
        said = json.loads(text)
        return f"process {said['pid']} on {said['host']} (since {said['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _note(file: IO[bytes], text: str) -> None:
    with contextlib.suppress(OSError):  # a full disk: the lock holds, nameless
        file.seek(0)
        file.truncate()
        file.write(text.encode())


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
