"""Progress on standard error: a live bar in a terminal, a line now and then in a log."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Report = Callable[[int, int, dict[str, float]], None]


def _described(metrics: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())


@contextlib.contextmanager
def progress(title: str, quiet: bool = False) -> Iterator[Report]:
    """A `report(done, total, metrics)` to hand to whatever takes a while."""
    if quiet:
        yield lambda done, total, metrics: None
        return
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = ["[bold]{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns, TextColumn("{task.fields[metrics]}"), console=Console(stderr=True)) as bar:
        task = bar.add_task(title, metrics="")

        def report(done: int, total: int, metrics: dict[str, float]) -> None:
            bar.update(task, completed=done, total=total, metrics=_described(metrics))

        yield report


def _lines(title: str, seconds: float = 5.0) -> Report:
    start = last = time.monotonic()

    def report(done: int, total: int, metrics: dict[str, float]) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > seconds or done == total:
            last = now
            left = (now - start) / done * (total - done)
            print(f"{title}: {done}/{total}  {_described(metrics)}  {left:.0f} s left", file=sys.stderr, flush=True)

    return report
