"""Stages of a run: each is announced with its size and predicted time, and has its own progress bar."""

import contextlib
from collections.abc import Iterator, Mapping

from ddjax.denoising.progress import Report
from ddjax.timing import in_time
from experiments.denoising.reading import Task
from experiments.display.progress import View

# stage -> title and unit
STAGES = {
    "prepare": ("preparing the distillation", ""),
    "distil": ("distilling", "steps"),
    "rates": ("searching the learning rate of the students", "epochs"),
    "students": ("training students of the distilled images", "epochs"),
    "folds": ("training networks on the other folds", "epochs"),
    "networks": ("training networks on all images", "epochs"),
    "patches": ("comparing patches of the images", "images"),
    "predict": ("predicting the examples of the other folds", ""),
    "judge": ("judging the labels", ""),
}

SHOWN = 10  # unreadable files listed at the start; skipped.txt lists all


def what_was_read(task: Task) -> list[str]:
    """Lines with the number of examples and classes, and the files that cannot be read."""
    skipped, count = task.skipped, len(task.given)
    if task.class_names is None:
        lines = [f"{count} labels"]
    else:
        lines = [f"{count} {'labels' if task.images is None else 'images'} of {len(task.class_names)} classes"]
    if skipped:
        more = [f"  and {len(skipped) - SHOWN} more"] if len(skipped) > SHOWN else []
        files = "1 file cannot be read and is" if len(skipped) == 1 else f"{len(skipped)} files cannot be read and are"
        lines += [f"{files} left out:", *(f"  {line}" for line in skipped[:SHOWN]), *more]
    return lines


@contextlib.contextmanager
def staged(quiet: bool, expected: Mapping[str, float | None] | None = None) -> Iterator[Report]:
    """Show the stages and the log messages of `ddjax.denoise`.

    Args:
      quiet: show nothing.
      expected: predicted seconds by stage.

    Yields:
      The function to pass as `report`.
    """
    view = View(quiet)
    with contextlib.ExitStack() as bars, view.log():
        show = None

        def report(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
            nonlocal show
            if done == 0 and not metrics:
                bars.close()
                view.say(announced(stage, total, (expected or {}).get(stage)))
                show = bars.enter_context(view.task(STAGES.get(stage, (stage,))[0]))
            if total:
                show(done, total, metrics)

        yield report


def announced(stage: str, total: int, seconds: float | None) -> str:
    """The title of a stage, with its size and predicted time if they are known."""
    title, unit = STAGES.get(stage, (stage, "steps"))  # a fork may name its own
    amount = [f"{total} {unit}"] if total else []
    estimate = [] if seconds is None else [f"about {in_time(seconds)}"]
    return f"{title}: {', '.join([*amount, *estimate])}" if amount or estimate else title
