"""The distilled set that students learn from, made with less work than one that is to be published."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ddjax import preprocess
from ddjax.denoising.telling import Report, begun
from ddjax.distilled import DistilledSet
from ddjax.distillers import DISTILLERS
from ddjax.execution.loop import distill
from ddjax.models import build
from ddjax.models.sizes import auto_width
from ddjax.names import unknown
from ddjax.storage.checkpoints import Checkpoints
from ddjax.types import Method, Model, TrainSet

WIDTH = 64
# A set to find wrong labels with needs less work than one to publish; what is not named here is the method's default.
SHORT: Mapping[str, Mapping[str, Any]] = {
    "dance": {"steps": 300, "pool_epochs": 20},
    "dm": {"steps": 300},
    "rcig": {"steps": 300, "batch": 256, "pool_size": 10, "image_rate": 0.01},
    "frepo": {"steps": 300},
    "kip": {"steps": 200},
}
PLAIN_SPACE = "standardize"


def width_for(image_shape: tuple[int, ...], width: int | None = None) -> int:
    """Channels of a ConvNet: those asked for, or a number that follows from the image size."""
    return auto_width(image_shape, width, WIDTH)


def judging_network(name: str, shape: tuple[int, ...], k: int, width: int, depth: int | None) -> Model:
    """The network of students; width and depth are for ConvNets."""
    options = {"width": width} if name.startswith("convnet") else {}
    return build(name, shape, k, **options, **({"depth": depth} if depth else {}))


def configured(method: Method, name: str, ipc: int, options: Mapping[str, Any], width: int, mirror: bool) -> Any:
    """The method's configuration; a width and mirror images are as for the students where it has such fields."""
    fields = {field.name for field in dataclasses.fields(method.config)}
    for option in options:
        if option not in fields:
            raise unknown(f"option of method {name!r}", option, sorted(fields))
    if "ipc" in options:
        raise ValueError(f"options hold ipc={options['ipc']}, which has an argument of its own: pass ipc= alone")
    chosen: dict[str, Any] = {"ipc": ipc, **SHORT.get(name, {})}
    if "width" in fields:
        chosen["width"] = width
    if "flip" in fields and not mirror:
        chosen["flip"] = False
    return method.config(**(chosen | dict(options)))


def least_images(name: str, config: Any) -> int:
    """How many images each class must hold: ipc, unless the method takes all, starts from noise or repeats images.

    What a method of a fork needs is not known here; it is left to its own `prepare`.
    """
    if name not in DISTILLERS or name == "full" or getattr(config, "start", None) == "noise":
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
    """The distilled set, with the transform it lives in, and the seconds it took: the stages "prepare" and "distil"."""
    start = time.monotonic()
    begun(report, "prepare")
    transform = preprocess.fit(method.space or PLAIN_SPACE, train.images)
    moved = inside(train, transform)
    if method.model is not None:
        model = method.model(config, moved.images.shape[1:], moved.num_classes)
    prepare_key, init_key = jax.random.split(jax.random.key(seed))
    begin, feed = method.prepare(config, moved, model, prepare_key)
    distiller = method.build(config, model)
    first, steps = distiller.init(init_key, begin), method.steps(config)
    told = begun(report, "distil", steps)
    state, _ = distill(distiller, feed, first, steps=steps, report=told, checkpoints=checkpoints)
    found = dataclasses.replace(distiller.extract(state), preprocess=transform)
    jax.block_until_ready(found.images)
    return found, time.monotonic() - start


def inside(train: TrainSet, transform: preprocess.Preprocess) -> TrainSet:
    """The images on the device, in the space of the transform."""
    images = preprocess.apply(transform, train.images)
    return dataclasses.replace(train, images=images, labels=jnp.asarray(train.labels), space=transform.fingerprint)
