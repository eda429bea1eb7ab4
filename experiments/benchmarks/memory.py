"""Benchmark of images that are kept as bytes: speed of each place, and peak memory with many images on disk.

Both parts take steps of DM and train a network, each with few channels, so that reading counts.
"""

import json
import pathlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddjax import preprocess
from ddjax.backend import target
from ddjax.data import to_space
from ddjax.distillers import DISTILLERS
from ddjax.distillers.setup import set_up
from ddjax.execution.distill import distill
from ddjax.models import build
from ddjax.rows import part_of
from ddjax.storage.files import cache_dir
from ddjax.training import Recipe, examples_of, fit
from ddjax.types import TrainSet
from experiments.benchmarks.measure import Entry, Settings, elsewhere, entry

SHAPE, CLASSES = (32, 32, 3), 10
BOTH, MANY, SLICE = 10_000, 1_000_000, 20_000  # images that fit in every place, on disk, and of a slice of an epoch
STEPS, CHUNK = 20, 5  # of DM; a program takes CHUNK steps
_AT_ONCE = 10_000  # rows of a file that are written at a time
PLACES = (None, "device", "host")  # None: floats, preprocessed in advance


def memory(settings: Settings) -> Iterator[Entry]:
    """Measure DM and training with images in each place, then peak memory of both with many images on disk.

    Seconds of a CPU are processor seconds, which count all threads and no other process. `ratio` is the time relative
    to floats in memory. "peak MiB" of the last rows is of memory that no file backs: pages of the memory-mapped file do
    not count, because the system takes them back when it needs them. "all GiB" has both.
    """
    pixels = TrainSet(**described(BOTH), images=drawn(BOTH))
    transform = preprocess.fit("standardize", pixels.images)
    trains = {place: to_space(pixels, transform, place) for place in PLACES}
    for name, work in WORK.items():
        calls = {f"{name}, {place or 'floats'}": work(settings, train) for place, train in trains.items()}
        counts = [call() for call in calls.values()]  # compiles
        rounds = [[spent(call) for call in calls.values()] for _ in range(settings.repeats)]
        for i, (title, count) in enumerate(zip(calls, counts, strict=True)):
            seconds = statistics.median(each[i] for each in rounds)
            ratio = {"ratio": statistics.median(each[i] / each[0] for each in rounds)} if i else {}
            yield entry(title, seconds, images_per_s=count / seconds, **ratio)
    if settings.parts:
        folder = settings.files or cache_dir() / "bench"
        file = written(folder, MANY)
        yield from elsewhere(__name__, str(file), str(settings.width), str(settings.batch or 64))


def spent(call: Callable[[], Any]) -> float:
    """Processor seconds of a call on a CPU, and seconds of another device."""
    clock = time.process_time if target() == "cpu" else time.perf_counter
    start = clock()
    call()
    return clock() - start


def described(count: int) -> dict[str, Any]:
    """The fields of a training set but its images."""
    labels = np.random.default_rng(1).integers(0, CLASSES, count).astype(np.int32)
    return {"labels": labels, "ids": np.arange(count, dtype=np.int32), "num_classes": CLASSES}


def drawn(count: int) -> np.ndarray:
    """Random images."""
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPE), np.uint8)


def written(folder: pathlib.Path, count: int, shape: tuple[int, ...] = SHAPE) -> pathlib.Path:
    """A file of random images, written if it is not there."""
    random = np.random.default_rng(0)

    def some(rows: range) -> np.ndarray:
        return random.integers(0, 256, (len(rows), *shape), np.uint8)

    return in_pieces(folder / f"images-{'x'.join(map(str, (count, *shape)))}.npy", (count, *shape), np.uint8, some)


def in_pieces(file: pathlib.Path, shape: tuple[int, ...], kind: type, some: Callable[[range], Any]) -> pathlib.Path:
    """A file of an array, written in pieces if it is not there; `some` makes the rows of a range, in turn."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part.npy")
        made = np.lib.format.open_memmap(part, "w+", kind, shape)
        for first in range(0, len(made), _AT_ONCE):
            rows = range(first, min(first + _AT_ONCE, len(made)))
            made[rows.start : rows.stop] = some(rows)
        made.flush()
        part.rename(file)
    return file


def distilled(settings: Settings, train: TrainSet) -> Callable[[], int]:
    """A call that takes steps of DM and returns the number of real images."""
    method, batch = DISTILLERS["dm"], settings.batch or 64
    config = method.config(batch=batch, steps=STEPS, width=settings.width)
    setup = set_up(method, config, train, jax.random.key(0))
    first = jax.jit(setup.distiller.init)(jax.random.key(1), setup.start)

    def call() -> int:
        jax.block_until_ready(
            distill(setup.distiller, setup.feed, jax.tree.map(jnp.copy, first), steps=STEPS, chunk=CHUNK)
        )
        return STEPS * batch * CLASSES

    return call


def trained(settings: Settings, train: TrainSet) -> Callable[[], int]:
    """A call that trains a network for an epoch and returns the number of images."""
    model = build("convnet", SHAPE, CLASSES, width=settings.width)
    examples = examples_of(train)
    recipe = Recipe(epochs=1, batch=settings.batch or 64, rate=0.01, momentum=0.9, augment="dsa")

    def call() -> int:
        jax.block_until_ready(fit(model, recipe, examples, jax.random.key(0)[None]).params)
        return len(train.labels)

    return call


WORK: dict[str, Callable[[Settings, TrainSet], Callable[[], int]]] = {"dm": distilled, "epoch": trained}


class Watched:
    """The largest resident memory of this process, in MiB: what is in no file, and all of it."""

    def __init__(self) -> None:
        """Look every 20 ms, in a thread."""
        self.reset()
        threading.Thread(target=self._watch, daemon=True).start()

    def reset(self) -> None:
        """Begin anew."""
        self.anonymous = self.everything = 0.0
        self._look()

    def _watch(self) -> None:
        while True:
            self._look()
            time.sleep(0.02)

    def _look(self) -> None:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
        sizes = {words[0]: int(words[1]) / 2**10 for line in lines if (words := line.split())[0].startswith("Rss")}
        self.anonymous = max(self.anonymous, sizes["RssAnon:"])
        self.everything = max(self.everything, sum(sizes.values()))


def alone(file: str, width: str, batch: str) -> None:
    """Print a row for each stage of work on a memory-mapped file, with the peak until its end."""
    watched, settings = Watched(), Settings(width=int(width), batch=int(batch))
    images = np.asarray(np.load(file, mmap_mode="r"))
    pixels = TrainSet(**described(len(images)), images=images)

    def stage(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        made = work()
        seconds = time.perf_counter() - start
        peaks = {"peak_mib": watched.anonymous, "all_gib": watched.everything / 2**10}
        count = {"images_per_s": made / seconds} if isinstance(made, int) else {}
        print(json.dumps({"name": f"{name}, {len(images)} on disk", "seconds": seconds, **peaks, **count}), flush=True)
        return made

    transform = stage("fit standardize", lambda: preprocess.fit("standardize", images))
    train = to_space(pixels, transform, "host")
    stage("dm", lambda: distilled(settings, train)())
    rows = np.random.default_rng(2).permutation(len(images))[:SLICE]
    labels, ids = pixels.labels[rows], pixels.ids[rows]
    part = TrainSet(images=part_of(train.images, rows), labels=labels, ids=ids, num_classes=CLASSES, space=train.space)
    stage(f"epoch of {SLICE}", lambda: trained(settings, part)())
