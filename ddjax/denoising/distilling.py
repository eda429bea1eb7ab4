"""The distilled set that the denoiser's students learn from, made in fewer steps than a published one."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax

from ddjax.denoising.progress import Report, begun
from ddjax.distilled import DistilledSet
from ddjax.distillers import DISTILLERS
from ddjax.execution.options import RunOptions
from ddjax.names import check_known
from ddjax.run import run_method
from ddjax.storage.checkpoints import Checkpoints
from ddjax.types import Method, Model, TrainSet

WIDTH = 64
# Settings that differ from the defaults of a method: a set that is only used for denoising needs fewer steps.
SHORT: Mapping[str, Mapping[str, Any]] = {
    "dance": {"steps": 300, "pool_epochs": 20},
    "dm": {"steps": 300},
    "rcig": {"steps": 300, "batch": 256, "pool_size": 10, "image_rate": 0.01},
    "frepo": {"steps": 300},
    "kip": {"steps": 200},
}


def configured(method: Method, name: str, ipc: int, options: Mapping[str, Any], width: int, flip: bool) -> Any:
    """The method's configuration, with the width and the flips of the students if it has such fields.

    Raises:
      ValueError: an option is unknown, or repeats `ipc`.
    """
    fields = {field.name for field in dataclasses.fields(method.config)}
    for option in options:
        check_known(f"option of method {name!r}", option, sorted(fields))
    if "ipc" in options:
        raise ValueError(f"options hold ipc={options['ipc']}, which is an argument of its own: pass ipc= alone")
    chosen: dict[str, Any] = {"ipc": ipc, **SHORT.get(name, {})}
    if "width" in fields:
        chosen["width"] = width
    if "flip" in fields and not flip:
        chosen["flip"] = False
    return method.config(**(chosen | dict(options)))


def least_images(name: str, config: Any) -> int:
    """The number of images that each class must have.

    It is `ipc`, but 1 for a method that starts from noise or repeats images, and for a method of a fork, whose
    `prepare` checks for itself.
    """
    if name not in DISTILLERS or getattr(config, "start", None) == "noise":
        return 1
    return 1 if getattr(config, "short_class", None) == "repeat" else config.ipc


def distilled_set(
    method: Method,
    config: Any,
    train: TrainSet,
    model: Model,
    seed: int,
    report: Report | None,
    checkpoints: Checkpoints | None = None,
) -> tuple[DistilledSet, float]:
    """Distil the training images; the stages "prepare" and "distil".

    Args:
      method, config: the method and its configuration.
      train: training images in pixels, with given labels.
      model: the network of methods without one of their own.
      seed: of the distillation.
      report: receives the progress of the stages.
      checkpoints: of the distillation.

    Returns:
      The distilled set with its preprocessing, and the seconds that it took.
    """
    begun(report, "prepare")
    options = RunOptions(report and functools.partial(report, "distil"), checkpoints)
    given = None if method.model else model
    made = run_method(method, train, jax.random.key(seed), config, model=given, options=options)
    return made.distilled, made.seconds
