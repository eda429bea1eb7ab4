"""One bar after another for the stages of a run."""

import contextlib
from collections.abc import Callable, Iterator

from experiments.progress import View

TITLES = {
    "distil": "distilling",
    "students": "students of the distilled images",
    "folds": "networks of the other folds",
    "networks": "young networks on all images",
}


@contextlib.contextmanager
def staged(quiet: bool) -> Iterator[Callable[[str, int, int, dict[str, float]], None]]:
    """A `report(stage, done, total, metrics)`: each stage has its own bar."""
    view = View(quiet)
    with contextlib.ExitStack() as open_:
        now: list = ["", None]

        def report(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
            if stage != now[0]:
                open_.close()
                now[:] = [stage, open_.enter_context(view.task(TITLES.get(stage, stage)))]
            now[1](done, total, metrics)

        yield report
