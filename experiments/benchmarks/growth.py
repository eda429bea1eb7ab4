"""How time and memory of each stage grow with the images, the classes, and the distilled images per class.

The benchmark `imagenet` measures the same stages for 64 x 64 images of 1000 classes in a file.

Example: python -m experiments.bench growth --json > growth.jsonl
"""

import ctypes
import gc
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddjax import preprocess
from ddjax.data import Dataset, Prepared, prepare, to_space
from ddjax.distillers import DISTILLERS
from ddjax.distillers.setup import set_up
from ddjax.execution.distill import distill
from ddjax.models import build
from ddjax.noise import NoiseSpec
from ddjax.storage.files import cache_dir
from ddjax.training import Recipe, examples_of, fit, stacked_logits
from ddjax.types import TrainSet
from experiments.benchmarks.measure import Entry, Settings, elsewhere
from experiments.benchmarks.memory import Watched, spent, written


class Size(NamedTuple):
    """Of a problem."""

    images: int
    classes: int
    ipc: int  # distilled images per class


class Problem(NamedTuple):
    """What is measured.

    Attributes:
      shape: of the images.
      axes: sizes in ascending order, by what grows.
      network: width and depth.
      place: of the images.
      steps: timed steps of a method.
      few: methods that train networks first, and are measured at the first size only.
    """

    shape: tuple[int, int, int]
    axes: dict[str, list[Size]]
    network: dict[str, int]
    place: str = "auto"
    steps: int = 4
    few: tuple[str, ...] = ()


AXES = {
    "images": [Size(10_000, 10, 1), Size(100_000, 10, 1), Size(1_000_000, 10, 1)],
    "classes": [Size(100_000, 10, 1), Size(100_000, 100, 1), Size(100_000, 1000, 1)],
    "ipc": [Size(10_000, 10, 1), Size(10_000, 10, 10), Size(10_000, 10, 50)],
}
IMAGENET = {"images": [Size(20_000, 1000, 1), Size(200_000, 1000, 1)]}
TRAINED = ("herding", "kcenter", "dance", "ncfm", "datm")
PROBLEMS = {
    "growth": Problem((8, 8, 3), AXES, {"width": 4, "depth": 1}),
    "imagenet": Problem((64, 64, 3), IMAGENET, {"width": 8, "depth": 4}, "host", steps=1, few=TRAINED),
}
BY_CLASS = {"batch": 16, "augment": "flip"}  # real images of each class in a step
POOL = {"members": 1, "pool_epochs": 1, "keep_pool": False}
METHODS: dict[str, dict[str, Any]] = {  # few epochs of each network, a small pool, few inner steps
    "random": {},
    "herding": {"feature_epochs": 1},
    "kcenter": {"feature_epochs": 1},
    "dm": BY_CLASS,
    "dance": BY_CLASS | POOL,
    "ncfm": BY_CLASS | POOL,
    "datm": {"experts": 1, "expert_epochs": 2, "store": False, "match_epochs": 1, "inner_steps": 2, "last_start": 1}
    | {"growth_steps": 0, "threshold": 1e9, "start": "real"},
    "kip": {"batch": 256, "kernel": "conjugate", "ridge": 0.1},
    "frepo": {"batch": 256, "pool_size": 2},
    "rcig": {"batch": 256, "pool_size": 2, "pool_most_steps": 1, "inner_steps": 5, "hinv_steps": 5}
    | {"inner_rate": 1e-4, "hinv_rate": 1e-4},
}
DATA = "data"  # the stages that all methods share


def measured(problem: str, settings: Settings) -> Iterator[Entry]:
    """Measure each stage at each size, in a process for each method.

    Seconds of a CPU are processor seconds of a second call, which compiles nothing; of a step they are a mean.
    "peak MiB" is the largest memory in no file during that call, above what the process had before it drew data.
    """
    folder = str(settings.files or cache_dir() / "bench")
    for name in (DATA, *METHODS):
        yield from elsewhere(__name__, problem, name, folder)


def alone(problem: str, name: str, folder: str) -> None:
    """Print a row for each stage of a method at each size."""
    watched, libc, asked = Watched(), ctypes.CDLL(None), PROBLEMS[problem]

    def freed() -> float:
        gc.collect()
        libc.malloc_trim(0)  # gives what is free, such as what the compiler used, back to the system
        watched.reset()
        return watched.anonymous

    def stage(title: str, work: Callable[[], Any], count: int = 1) -> Any:
        jax.block_until_ready(work())  # compiles
        freed()
        made: list[Any] = []
        seconds = spent(lambda: made.append(jax.block_until_ready(work()))) / count
        peak = watched.anonymous - before
        row = {"method": name, "stage": title, **size._asdict(), "seconds": seconds, "peak_mib": peak}
        print(json.dumps({"name": f"{title}, {name}, {', '.join(map(str, size))}", **row}), flush=True)
        return made[0]

    sizes = list(dict.fromkeys(size for line in asked.axes.values() for size in line))
    for size in sizes[:1] if name in asked.few else sizes:
        jax.clear_caches()
        before = freed()
        if name == DATA:
            of_data(drawn(size, asked, pathlib.Path(folder)), asked, stage)
        else:
            of_method(name, placed(drawn(size, asked, pathlib.Path(folder)), asked).train, size, asked, stage)


def drawn(size: Size, problem: Problem, folder: pathlib.Path) -> Dataset:
    """Random images, on the host in a file, with labels, each class with the same number of images."""
    if problem.place == "host":
        images = np.asarray(np.load(written(folder, size.images, problem.shape), mmap_mode="r"))
    else:
        images = np.random.default_rng(0).integers(0, 256, (size.images, *problem.shape), np.uint8)
    labels, tests = (np.arange(size.images) % size.classes).astype(np.int32), max(1, size.images // 20)
    return Dataset(
        name="drawn",
        images=images,
        labels=labels,
        ids=np.arange(size.images, dtype=np.int32),
        test_images=images[:tests],
        test_labels=labels[:tests],
        class_names=tuple(map(str, range(size.classes))),
    )


def imagenet() -> Dataset:
    """The data set of the benchmark `imagenet`, for plans: --dataset experiments.benchmarks.growth:imagenet."""
    return drawn(IMAGENET["images"][-1], PROBLEMS["imagenet"], cache_dir() / "bench")


def placed(dataset: Dataset, problem: Problem) -> Prepared:
    """The data with noise, in the space of standardised images."""
    data = prepare(dataset, NoiseSpec("symmetric", rate=0.2))
    return to_space(data, preprocess.fit("standardize", dataset.images, cache=False), problem.place)


def of_data(dataset: Dataset, problem: Problem, stage: Callable[..., Any]) -> None:
    """The stages of any method, and of scoring: noise and statistics, an epoch of training, and predictions."""
    train = stage("noise and statistics", lambda: placed(dataset, problem)).train
    if problem.few and len(train.labels) > problem.axes["images"][0].images:
        return
    model = build("convnet", problem.shape, train.num_classes, **problem.network)
    examples = examples_of(train)
    recipe = Recipe(epochs=1, batch=256, rate=0.01)
    fitted = stage("epoch", lambda: fit(model, recipe, examples, jax.random.key(0)[None]))
    stage("predictions", lambda: stacked_logits(model, fitted.params, examples.images))


def of_method(name: str, train: TrainSet, size: Size, problem: Problem, stage: Callable[..., Any]) -> None:
    """The stages of a method: its preparation, and steps."""
    method, model = DISTILLERS[name], build("convnet", problem.shape, train.num_classes, **problem.network)
    own = problem.network if method.model else {}
    config = method.config(ipc=size.ipc, **own, **METHODS[name])
    setup = stage("preparation", lambda: set_up(method, config, train, jax.random.key(0), model))
    state = jax.jit(setup.distiller.init)(jax.random.key(1), setup.start)

    def steps() -> Any:
        copied = jax.tree.map(jnp.copy, state)  # the loop takes it
        return distill(setup.distiller, setup.feed, copied, steps=problem.steps, chunk=1)[0]

    stage("step", steps, problem.steps)
