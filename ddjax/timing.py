"""Seconds of work, apart from those that JAX spends on compiling, and apart from work that several runs share."""

import contextlib
import contextvars
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax

_LOCK = threading.Lock()
_spans: list[tuple[float, float]] = []  # when this process was compiling: disjoint, in order
_before = 0.0  # seconds of spans that are no longer listed
_listening = False
_LISTED = 64


class Share(NamedTuple):
    """Work that several runs share, such as experts: what it took in all, and what of that was spent just now."""

    whole: float | None  # None: made by a version that did not measure it
    here: float


_ledger: contextvars.ContextVar[dict[str, Share] | None] = contextvars.ContextVar("ledger", default=None)


def compiling() -> float:
    """Seconds that this process has spent on tracing, lowering and compiling since it was first asked."""
    global _listening
    with _LOCK:
        if not _listening:
            jax.monitoring.register_event_duration_secs_listener(_heard)
            _listening = True
        return _before + sum(end - start for start, end in _spans)


def _heard(event: str, duration: float, **_: object) -> None:
    """Count a stretch of compiling; one that lies within another, as inner functions do, counts once."""
    global _before
    if not event.startswith("/jax/core/compile/"):
        return
    end = time.monotonic()
    start = end - duration
    with _LOCK:
        while _spans and _spans[-1][0] >= start:
            _spans.pop()
        if _spans:
            start = max(start, _spans[-1][1])
        _spans.append((start, max(start, end)))
        if len(_spans) > _LISTED:
            first = _spans.pop(0)
            _before += first[1] - first[0]


class Timer:
    """Seconds since it was made: all of them, and the steady ones, without compiling."""

    def __init__(self) -> None:
        """Start the clock."""
        self._start, self._compiled = time.monotonic(), compiling()

    @property
    def seconds(self) -> float:
        """All seconds since the start."""
        return time.monotonic() - self._start

    @property
    def steady(self) -> float:
        """The seconds since the start in which nothing was compiled."""
        return max(0.0, self.seconds - (compiling() - self._compiled))


def in_time(seconds: float | int) -> str:
    """Seconds as text, in a suitable unit."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


@contextlib.contextmanager
def ledger() -> Iterator[dict[str, Share]]:
    """Collect the shared work that is charged in this block, by name."""
    found: dict[str, Share] = {}
    token = _ledger.set(found)
    try:
        yield found
    finally:
        _ledger.reset(token)


def charge(name: str, share: Share) -> None:
    """Record that the current work used something that several runs share. Without a `ledger` nothing happens."""
    found = _ledger.get()
    if found is not None:
        found[name] = share
