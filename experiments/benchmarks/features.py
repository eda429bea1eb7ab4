"""How well prototypes in feature space find wrong labels whose truth is known: tables, digits, and given features."""

import pathlib
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ddjax.denoising import denoise
from ddjax.evaluation.detection import detection
from ddjax.noise import transition
from ddjax.noise.corrupt import corrupt
from ddjax.storage.arrays import npz_headers, read_npz
from experiments.benchmarks import judging
from experiments.benchmarks.measure import Entry, Settings, entry

NOISES = (("symmetric", 0.1), ("symmetric", 0.3), ("pairflip", 0.3))
TABLES = ("digits", "wine", "breast_cancer")
_TINY = 1e-7


class Case(NamedTuple):
    """Features with given labels whose truth is known."""

    name: str
    features: Float[np.ndarray, "n d"]
    given: Int[np.ndarray, "n"]
    truth: Int[np.ndarray, "n"]


def features(settings: Settings) -> Iterator[Entry]:
    """A row for each data set of scikit-learn and each noise, and for each file of `--files`.

    A file holds `truth`, and `features`, which get the same noises, or `pred_probs` and `given`. The features are then
    the log-probabilities, and a second row has the judgement of the probabilities themselves.
    """
    for path in judging.files_in(settings.files) if settings.files else []:
        yield from _of_file(path)
    for name in TABLES:
        yield from _noisy(name, *_table(name))


def _of_file(path: pathlib.Path) -> Iterator[Entry]:
    if "features" in npz_headers(path):
        arrays = read_npz(path, ["features", "truth"])
        yield from _noisy(path.stem, arrays["features"], arrays["truth"].astype(np.int32))
        return
    case = judging.load(path)
    logs = np.log(np.maximum(case.pred_probs.astype(np.float32), _TINY))
    yield _row(Case(path.stem, logs, case.given, case.truth))
    yield _row(Case(path.stem, case.pred_probs, case.given, case.truth), door="pred_probs")


def _table(name: str) -> tuple[np.ndarray, np.ndarray]:
    from sklearn import datasets

    values, truth = getattr(datasets, f"load_{name}")(return_X_y=True)
    return values, truth.astype(np.int32)


def _noisy(name: str, values: np.ndarray, truth: np.ndarray) -> Iterator[Entry]:
    ids = np.arange(len(truth), dtype=np.int32)
    for kind, rate in NOISES:
        matrix = getattr(transition, kind)(rate, int(truth.max()) + 1)
        given = np.asarray(corrupt(truth, matrix, ids=ids, seed=0))
        yield _row(Case(f"{name} {kind} {rate}", values, given, truth))
    yield _row(Case(f"{name} clean", values, truth, truth))


def _row(case: Case, door: str = "features") -> Entry:
    start, spent = time.perf_counter(), time.process_time()
    named = {"method": "prototypes"} if door == "features" else {}
    found = denoise(labels=case.given, **named, **{door: case.features})
    seconds, spent = time.perf_counter() - start, time.process_time() - spent
    measures = detection(found.suspicion, found.flagged, found.cleaned, case.given, case.truth)
    more = {"promised": found.expected_precision, "estimated_rate": found.noise_rate, "cpu_s": spent}
    shown = case.name if door == "features" else f"  {door}"
    return entry(shown, seconds, case=case.name, method=found.method, peak_mib=None, **measures, **more)
