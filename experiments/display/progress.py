"""Progress: a live display in a terminal or a notebook, periodic lines in a log, and TensorBoard."""

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
    """Display of progress. Tasks may nest: the cells of a sweep, and in each cell the distillation and the students."""

    def __init__(self, quiet: bool = False, board: Board | None = None, stream: IO[str] | None = None):
        """Create a view; nothing is printed yet.

        Args:
          quiet: print nothing.
          board: also receives the metrics.
          stream: of the display; by default standard error.
        """
        self.quiet, self.board, self.stream = quiet, board, stream or sys.stderr
        self._live: Any = None
        self._spoke, self._depth = time.monotonic(), 0

    @contextlib.contextmanager
    def task(self, title: str) -> Iterator[Report]:
        """Show a task; yields its `report(done, total, metrics)`."""
        with self._shown(title) as show:

            def report(done: int, total: int, metrics: dict[str, float]) -> None:
                show(done, total, metrics)
                if self.board:
                    self.board.write(title, metrics, done)

            yield report

    @contextlib.contextmanager
    def reading(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A task that is shown from its first report on: image files may have been decoded before."""
        with contextlib.ExitStack() as shown:
            tasks: list[Report] = []

            def report(done: int, total: int) -> None:
                if not tasks:
                    tasks.append(shown.enter_context(self.task(f"reading {what}")))
                tasks[0](done, total, {})

            yield report

    def say(self, words: str) -> None:
        """Print a line: above the live display, in the log, or in the output of the notebook."""
        if self.quiet:
            return
        self._spoke = time.monotonic()
        if self._live is not None:
            self._live.console.print(words, markup=False, highlight=False, soft_wrap=True)
        else:
            print(words, file=sys.stdout if in_notebook() else self.stream, flush=True)

    @property
    def live(self) -> bool:
        """Whether tasks are shown in place, in a terminal or a notebook, and not as lines of a log."""
        return not self.quiet and (in_notebook() or self.stream.isatty())

    def above(self, words: Callable[[], str]) -> None:
        """Show a text above the bars of a live display, in place of the text before; a log does not ask for it."""
        if self._live is not None:
            self._live.above = words()
            self._live.refresh()

    @contextlib.contextmanager
    def log(self) -> Iterator[None]:
        """Print the messages that the library logs inside the block."""
        logger, handler = logging.getLogger("ddjax"), _Saying(self)
        level, propagate = logger.level, logger.propagate
        if not self.quiet:
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
            logger.propagate = False  # TensorFlow Datasets may give the root logger a handler of its own
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate

    def _shown(self, title: str) -> contextlib.AbstractContextManager[Report]:
        if self.quiet:
            return contextlib.nullcontext(lambda done, total, metrics: None)
        return self._live_row(title) if self.live else self._lines(title)

    @contextlib.contextmanager
    def _live_row(self, title: str) -> Iterator[Report]:
        """Add a row to the live display of a terminal or a notebook, which the outermost task opens."""
        with contextlib.ExitStack() as stack:
            outermost = self._live is None
            if outermost:
                self._live = stack.enter_context(live_display(self.stream))
                stack.callback(setattr, self, "_live", None)
                stack.callback(setattr, self._live, "above", "")
            live, pace = self._live, Pace()
            task = live.add_task(title, total=None, metrics="", rate="")
            if not outermost:
                stack.callback(live.remove_task, task)

            def report(done: int, total: int, metrics: dict[str, float]) -> None:
                rate = in_words(pace(done))
                live.update(task, completed=done, total=total, metrics=described(metrics), rate=rate)

            yield report

    @contextlib.contextmanager
    def _lines(self, title: str) -> Iterator[Report]:
        start, pace, outermost = time.monotonic(), Pace(), self._depth == 0
        self._depth += 1

        def report(done: int, total: int, metrics: dict[str, float]) -> None:
            now, rate = time.monotonic(), pace(done)
            ends = done == total and (outermost or now - start > EVERY)  # no line for short inner tasks
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
    """Logging handler that prints to a view."""

    def __init__(self, view: View):
        """Store the view."""
        super().__init__()
        self.view = view

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        self.view.say(self.format(record))


def live_display(stream: IO[str]) -> Any:
    """Columns of the display: title, bar, rate, remaining time and newest metrics; `above` is a text above them."""
    from rich.console import Console, RenderableType
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Display(Progress):
        above = ""

        def get_renderables(self) -> Iterator[RenderableType]:
            if self.above:
                room = self.console.height - len(self.tasks) - 2  # what is higher than the screen hides the bars
                yield Text(
                    "\n".join([*shortened(self.above.splitlines(), room), ""]), no_wrap=True, overflow="ellipsis"
                )
            yield self.make_tasks_table(self.tasks)

    columns = [
        TextColumn("{task.description}", style="bold", markup=False),  # names may contain brackets
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[metrics]}", markup=False),
    ]
    return Display(*columns, console=Console(file=stream))


def shortened(lines: list[str], most: int) -> list[str]:
    """At most `most` lines: the first ones, a note on those that are left out, and the last one."""
    if len(lines) <= most:
        return lines
    kept = max(1, most - 2)
    return [*lines[:kept], f"... {len(lines) - kept - 1} more lines", lines[-1]]


def in_notebook() -> bool:
    """Whether the code runs in a notebook kernel."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def described(metrics: dict[str, float]) -> str:
    """Metrics as one line of text; whole numbers are counts."""
    forms = {name: "d" if isinstance(value, int) else ".3f" for name, value in metrics.items()}
    return "  ".join(f"{name} {value:{forms[name]}}" for name, value in metrics.items())


class Pace:
    """Units per second since the first report, because the time before it is mostly compilation."""

    def __init__(self) -> None:
        """Start without reports."""
        self.first: tuple[int, float] | None = None
        self.last = 0

    def __call__(self, done: int) -> float | None:
        """The rate, or None before the second report. A smaller count starts a new measurement."""
        if done == 0:
            return None
        now = time.monotonic()
        if self.first is None or done < self.last:
            self.first = done, now
        self.last = done
        count, seconds = done - self.first[0], now - self.first[1]
        return count / seconds if count > 0 and seconds > 0 else None


def in_words(rate: float | None) -> str:
    """The rate as text, empty if it is unknown."""
    if rate is None:
        return ""
    return f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"
