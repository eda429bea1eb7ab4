"""Ending in order: SIGTERM and Ctrl-C let a loop keep its state first, within a time that schedulers allow.

A command that was stopped exits with status 75 once everything is on disk (`EX_TEMPFAIL`: the same command goes on
from there), or with 128 + the signal's number (143, 130) where that took longer than the grace: what was written
before stands, and the same command goes on from that.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

STOPPED = 75
GRACE = 8.0  # seconds; `$DDJAX_GRACE`
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(SystemExit):
    """The run was asked to end, and has; no `except Exception` takes it for a failure."""


class _Asked:
    """What signals have asked of this process so far."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.deferring = 0  # blocks that will look at `asked()` themselves


_now = _Asked()


def asked() -> bool:
    """Whether a signal wants this process to end."""
    return _now.signal is not None


def stop(what: str) -> None:
    """End the process in order, saying what is kept."""
    print(f"stopped by {signal.Signals(_now.signal or signal.SIGTERM).name}: {what}", file=sys.stderr)
    raise Stopped(STOPPED)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Signals wait in this block, whose code looks at `asked()` when it can keep its state."""
    _now.deferring += 1
    try:
        yield
    finally:
        _now.deferring -= 1


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """Handle signals so for the length of the block; the same one a second time ends the process at once."""
    grace = float(os.environ.get("DDJAX_GRACE", GRACE))
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    over = threading.Event()

    def watch() -> None:
        """Python's handlers wait for compiled code to return; this thread, which they wake, does not."""
        while (byte := os.read(reading, 1)) != b"\0":
            if byte[0] in SIGNALS and not over.wait(grace):
                print("stopped before all could be kept: what was written before stands", file=sys.stderr, flush=True)
                os._exit(128 + byte[0])

    def handle(number: int, frame: Any) -> None:
        if _now.signal == number:
            os._exit(128 + number)
        if _now.signal is not None:  # a parent that was asked to end as well passes it on
            return
        _now.signal = number
        if not _now.deferring:
            stop("nothing was under way that is kept in parts; the same command goes on with what is missing")

    old = {number: signal.signal(number, handle) for number in SIGNALS}
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="ddjax-stopping", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        for number, handler in old.items():
            signal.signal(number, handler)
        os.write(writing, b"\0")
        watcher.join()
        os.close(reading)
        os.close(writing)
        _now.signal = None
