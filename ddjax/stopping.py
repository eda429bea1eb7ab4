"""Orderly end on signals: after SIGTERM or Ctrl-C a loop saves its state before the process ends.

A stopped command exits with status 75 (`EX_TEMPFAIL`) when everything is saved. If saving takes longer than the grace
period, it exits with 128 + the number of the signal (143, 130), and the previous checkpoint remains. In both cases the
same command continues from the saved state.
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
AGAIN = 0.1  # seconds after which a signal is sent again whose exception was ignored
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(SystemExit):
    """The process ends because of a signal. It is not an `Exception`, so no handler of errors catches it."""


class _Request:
    """The signal that this process has received, if any."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.deferring = 0  # number of active blocks that call `requested()` themselves


_now = _Request()


def requested() -> bool:
    """Whether a signal has asked this process to end."""
    return _now.signal is not None


def stop(what: str) -> None:
    """End the process, with a message about the saved state `what`."""
    print(f"stopped by {signal.Signals(_now.signal or signal.SIGTERM).name}: {what}", file=sys.stderr)
    raise Stopped(STOPPED)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """In this block signals are deferred; its code calls `requested()` whenever it can save its state."""
    _now.deferring += 1
    try:
        yield
    finally:
        _now.deferring -= 1


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """Handle signals in this block. The same signal a second time ends the process immediately.

    Raises:
      ValueError: `$DDJAX_GRACE` is no number of seconds.
    """
    grace = _grace(os.environ.get("DDJAX_GRACE", GRACE))
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    over = threading.Event()

    def watch() -> None:
        """End the process after the grace period. Signal handlers wait for compiled code; this thread does not."""
        while (byte := os.read(reading, 1)) != b"\0":
            if byte[0] in SIGNALS and not over.wait(grace):
                print(
                    "stopped before the state was saved: the previous checkpoint remains", file=sys.stderr, flush=True
                )
                os._exit(128 + byte[0])

    def handle(number: int, frame: Any) -> None:
        if _now.signal == number:
            os._exit(128 + number)
        if _now.signal is not None:  # a parent process may forward its own signal
            return
        _now.signal = number
        if not _now.deferring:
            stop("no computation with checkpoints was running; the same command continues with what is missing")

    def ignored(what: Any) -> None:
        """Send the signal again if the exception of its handler met code that ignores exceptions, as finalizers do."""
        if what.exc_type is not Stopped or (number := _now.signal) is None:
            return hook(what)
        _now.signal = None
        threading.Timer(AGAIN, os.kill, (os.getpid(), number)).start()

    old = {number: signal.signal(number, handle) for number in SIGNALS}
    hook, sys.unraisablehook = sys.unraisablehook, ignored
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="ddjax-stopping", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        sys.unraisablehook = hook
        for number, handler in old.items():
            signal.signal(number, handler)
        os.write(writing, b"\0")
        watcher.join()
        os.close(reading)
        os.close(writing)
        _now.signal = None


def _grace(asked: float | str) -> float:
    try:
        if 0 <= (seconds := float(asked)) <= threading.TIMEOUT_MAX:
            return seconds
    except ValueError:
        pass
    raise ValueError(f"DDJAX_GRACE must be a number of seconds from 0; got {asked!r}")
