"""Work in progress: a live display in a terminal, bars in a notebook, a line now and then in a log; and TensorBoard."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

from experiments.display.board import Board

Report = Callable[[int, int, dict[str, float]], None]
EVERY = 5.0  # seconds between lines in a log


class View:
    """Where progress is shown. Tasks may nest: a sweep's cells, and in each its distillation and its students."""

    def __init__(self, quiet: bool = False, board: Board | None = None, stream: IO[str] | None = None):
        """Onto standard error, unless `quiet`; numbers also onto the board, where there is one."""
        self.quiet, self.board, self.stream = quiet, board, stream or sys.stderr
        self._live: Any = None
        self._spoke, self._depth = time.monotonic(), 0

    @contextlib.contextmanager
    def task(self, title: str) -> Iterator[Report]:
        """A `report(done, total, metrics)` to hand to whatever takes a while."""
        with self._shown(title) as show:

            def report(done: int, total: int, metrics: dict[str, float]) -> None:
                show(done, total, metrics)
                if self.board:
                    self.board.write(title, metrics, done)

            yield report

    def say(self, words: str) -> None:
        """A line of its own: above the live display, in the log, or in the notebook's output."""
        if self.quiet:
            return
        self._spoke = time.monotonic()
        if self._live is not None:
            self._live.console.print(words, markup=False, highlight=False, soft_wrap=True)
        else:
            print(words, file=sys.stdout if in_notebook() else self.stream, flush=True)

    @contextlib.contextmanager
    def log(self) -> Iterator[None]:
        """Meanwhile a line for each message that the library logs."""
        logger, handler = logging.getLogger("ddjax"), _Saying(self)
        level = logger.level
        if not self.quiet:
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)

    def _shown(self, title: str) -> contextlib.AbstractContextManager[Report]:
        if self.quiet:
            return contextlib.nullcontext(lambda done, total, metrics: None)
        if in_notebook():
            return self._notebook(title)
        return self._terminal(title) if self.stream.isatty() else self._lines(title)

    @contextlib.contextmanager
    def _terminal(self, title: str) -> Iterator[Report]:
        """A row of one live display, which the outermost task opens."""
        with contextlib.ExitStack() as stack:
            outermost = self._live is None
            if outermost:
                self._live = stack.enter_context(live_display(self.stream))
                stack.callback(setattr, self, "_live", None)
            live, pace = self._live, Pace()
            task = live.add_task(title, total=None, metrics="", rate="")
            if not outermost:
                stack.callback(live.remove_task, task)

            def report(done: int, total: int, metrics: dict[str, float]) -> None:
                rate = in_words(pace(done))
                live.update(task, completed=done, total=total, metrics=described(metrics), rate=rate)

            yield report

    @contextlib.contextmanager
    def _notebook(self, title: str) -> Iterator[Report]:
        from tqdm.auto import tqdm

        with tqdm(desc=title, leave=False) as bar:

            def report(done: int, total: int, metrics: dict[str, float]) -> None:
                bar.total = total
                bar.set_postfix(metrics, refresh=False)
                bar.update(done - bar.n)

            yield report

    @contextlib.contextmanager
    def _lines(self, title: str) -> Iterator[Report]:
        start, pace, outermost = time.monotonic(), Pace(), self._depth == 0
        self._depth += 1

        def report(done: int, total: int, metrics: dict[str, float]) -> None:
            now, rate = time.monotonic(), pace(done)
            ends = done == total and (outermost or now - start > EVERY)  # a short part of something need not say so
            if now - self._spoke < EVERY and not ends:
                return
            self._spoke = now
            left = f"{(total - done) / rate:.0f} s left" if rate else ""
            words = [f"{title}: {done}/{total}", in_words(rate), described(metrics), left]
            print("  ".join(word for word in words if word), file=self.stream, flush=True)

        try:
            yield report
        finally:
            self._depth -= 1


class _Saying(logging.Handler):
    """Says what is logged."""

    def __init__(self, view: View):
        """In this view."""
        super().__init__()
        self.view = view

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        self.view.say(self.format(record))


def live_display(stream: IO[str]) -> Any:
    """Rows of: what, how far, how fast, how long still, and the newest numbers."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [
        TextColumn("[bold]{task.description}", markup=True),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[metrics]}"),
    ]
    return Progress(*columns, console=Console(file=stream))


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def described(metrics: dict[str, float]) -> str:
    """Names and numbers."""
    return "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())


class Pace:
    """How many a second, since the first report: what comes before it is mostly compiled, not done."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.first: tuple[int, float] | None = None
        self.last = 0

    def __call__(self, done: int) -> float | None:
        """The rate, once a second report makes one; a count that falls back begins anew. Nothing done has no rate."""
        if done == 0:
            return None
        now = time.monotonic()
        if self.first is None or done < self.last:
            self.first = done, now
        self.last = done
        count, seconds = done - self.first[0], now - self.first[1]
        return count / seconds if count > 0 and seconds > 0 else None


def in_time(seconds: float) -> str:
    """Seconds in a unit that suits them."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def in_words(rate: float | None) -> str:
    """A rate, where there is one."""
    if rate is None:
        return ""
    return f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"
