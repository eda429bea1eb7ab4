"""Flags that have no effect, because no predictor of the run reads them."""

import dataclasses

from ddjax.denoising.automatic import LARGEST_CHOICE, chosen
from ddjax.denoising.predictor import FEATURES, IMAGES, PREDICTIONS, Plan
from ddjax.denoising.registry import PREDICTORS, choose_predictor
from ddjax.names import few
from ddjax.types import TrainSet
from experiments.denoising.forecast import compared
from experiments.denoising.reading import Task
from experiments.denoising.settings import Settings

# the flags that a predictor may read; `settings.method_options` checks --options and --steps
FLAGS = {field.name for field in dataclasses.fields(Plan)} - {"method", "options", "seed"}
ON_FEATURES = {"ipc", "folds"}  # the others describe networks, which the library trains on images only


def read_by(method: str, kind: str) -> set[str]:
    """The flags that a method may read for this kind of input."""
    if kind == PREDICTIONS:
        return set()
    if ":" in method:  # of a fork
        return FLAGS
    decides = choose_predictor(LARGEST_CHOICE[kind] if method == "auto" else method).decides
    return FLAGS.intersection(decides) & (ON_FEATURES if kind == FEATURES else FLAGS)


def refuse_unread(settings: Settings, task: Task | None = None) -> None:
    """Raise a ValueError that names a flag which differs from its default, and which nothing reads.

    Args:
      settings: of the command.
      task: the data, whose number of images decides what the method auto takes.
    """
    kind, method = settings.kind, settings.judge
    words = f"--method {method}"
    if task and method == "auto" and kind == IMAGES:
        method = chosen(TrainSet(images=None, labels=task.given, ids=None, num_classes=0)).methods[-1]
        words += f", which takes {method} for {len(task.given)} images"
    if settings.compare:
        words += ", and none on --compare"
    methods = compared(method, kind) if settings.compare else [method]
    read = set().union(*(read_by(one, kind) for one in methods))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name not in FLAGS - read or value == field.default:
            continue
        flag = "--no-flip" if field.name == "flip" else f"--{field.name.replace('_', '-')} {value}"
        others = [name for name in (*PREDICTORS, "dance") if kind in choose_predictor(name).takes]
        others = [name for name in others if name != "auto" and field.name in read_by(name, kind)]
        if not others:
            raise ValueError(f"{flag} has no effect where {kind} are judged: leave it out")
        known = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(read)) or "none of these"
        raise ValueError(
            f"{flag} has no effect on {words}: leave it out, or name a method that reads it, such as "
            f"{few(others, 3)}. Flags that are read: {known}"
        )
