"""Benchmark of feature vectors on disk: time and peak memory of `denoise` against the number of rows."""

import json
import pathlib
import time
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from ddjax.denoising import denoise
from ddjax.evaluation.detection import detection
from ddjax.noise import transition
from ddjax.noise.corrupt import corrupt
from ddjax.storage.files import cache_dir
from experiments.benchmarks.measure import Entry, Settings, elsewhere
from experiments.benchmarks.memory import Watched, in_pieces

ROWS, WIDTH, CLASSES = (50_000, 1_000_000), 512, 10
NOISE, SPREAD = 0.2, 0.17  # share of wrong labels; standard deviation of the centres of classes, relative to the rows'


def vectors(settings: Settings) -> Iterator[Entry]:
    """A row for each number of vectors, each in a process of its own.

    The vectors are normal around a centre for each class. A fifth of the labels are wrong. "peak MiB" is of memory that
    no file backs, and "all GiB" also counts pages of the memory-mapped file, which the system takes back when it needs
    them.
    """
    folder = settings.files or cache_dir() / "bench"
    for count in ROWS:
        yield from elsewhere(__name__, str(written(folder, count)))


def truth_of(count: int) -> Int[np.ndarray, "n"]:
    """The class of each row."""
    return np.random.default_rng(1).integers(0, CLASSES, count).astype(np.int32)


def written(folder: pathlib.Path, count: int) -> pathlib.Path:
    """A file of vectors, written if it is not there."""
    random, truth = np.random.default_rng(0), truth_of(count)
    centres = SPREAD * random.standard_normal((CLASSES, WIDTH), np.float32)

    def some(rows: range) -> np.ndarray:
        near = centres[truth[rows.start : rows.stop]]
        return near + random.standard_normal(near.shape, np.float32)

    return in_pieces(folder / f"vectors-{count}x{WIDTH}.npy", (count, WIDTH), np.float32, some)


def alone(file: str) -> None:
    """Print the row of a memory-mapped file."""
    watched, features = Watched(), np.load(file, mmap_mode="r")
    truth, ids = truth_of(len(features)), np.arange(len(features), dtype=np.int32)
    given = np.asarray(corrupt(truth, transition.symmetric(NOISE, CLASSES), ids=ids, seed=0))
    start, spent = time.perf_counter(), time.process_time()
    found = denoise(labels=given, features=features)
    seconds, spent = time.perf_counter() - start, time.process_time() - spent
    row = {
        "name": f"{len(features)} x {WIDTH} on disk",
        "seconds": seconds,
        "cpu_s": spent,
        "peak_mib": watched.anonymous,
        "all_gib": watched.everything / 2**10,
        "method": found.method,
        "promised": found.expected_precision,
        "estimated_rate": found.noise_rate,
        **detection(found.suspicion, found.flagged, found.cleaned, given, truth),
    }
    print(json.dumps(row), flush=True)
