"""How well wrong labels are found in feature space where the truth is known: tables, digits, and given features."""

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
PIXELS = (6, 16)  # of the digits: weak features
METHODS = ("auto", "prototypes")  # the default, and the quicker part of it
_TINY = 1e-7


class Case(NamedTuple):
    """Features with given labels whose truth is known."""

    name: str
    features: Float[np.ndarray, "n d"]
    given: Int[np.ndarray, "n"]
    truth: Int[np.ndarray, "n"]


def features(settings: Settings) -> Iterator[Entry]:
    """A row for each data set of scikit-learn, each noise and each of `METHODS`, and for each file of `--files`.

    A file holds `truth`, and `features`, which get the same noises, or `pred_probs` and `given`. The features are then
    the log-probabilities, and a second row has the judgement of the probabilities themselves.
    """
    for path in judging.files_in(settings.files) if settings.files else []:
        yield from _of_file(path)
    for name in TABLES:
        yield from _noisy(name, *_table(name))
    values, truth = _table("digits")
    varied = np.flatnonzero(values.std(axis=0) > 1)
    for count in PIXELS:
        some = np.random.default_rng(0).choice(varied, count, replace=False)
        yield from _noisy(f"digits of {count} pixels", values[:, some], truth)


def _of_file(path: pathlib.Path) -> Iterator[Entry]:
    if "features" in npz_headers(path):
        arrays = read_npz(path, ["features", "truth"])
        yield from _noisy(path.stem, arrays["features"], arrays["truth"].astype(np.int32))
        return
    case = judging.load(path)
    logs = np.log(np.maximum(case.pred_probs.astype(np.float32), _TINY))
    yield from _rows(Case(path.stem, logs, case.given, case.truth))
    yield _row(Case(path.stem, case.pred_probs, case.given, case.truth), "pred_probs")


def _table(name: str) -> tuple[np.ndarray, np.ndarray]:
    from sklearn import datasets

    values, truth = getattr(datasets, f"load_{name}")(return_X_y=True)
    return values, truth.astype(np.int32)


def _noisy(name: str, values: np.ndarray, truth: np.ndarray) -> Iterator[Entry]:
    ids = np.arange(len(truth), dtype=np.int32)
    for kind, rate in NOISES:
        matrix = getattr(transition, kind)(rate, int(truth.max()) + 1)
        given = np.asarray(corrupt(truth, matrix, ids=ids, seed=0))
        yield from _rows(Case(f"{name} {kind} {rate}", values, given, truth))
    yield from _rows(Case(f"{name} clean", values, truth, truth))


def _rows(case: Case) -> Iterator[Entry]:
    for method in METHODS:
        yield _row(case, "features", method)


def _row(case: Case, door: str, method: str | None = None) -> Entry:
    start, spent = time.perf_counter(), time.process_time()
    found = denoise(labels=case.given, method=method, **{door: case.features})
    seconds, spent = time.perf_counter() - start, time.process_time() - spent
    measures = detection(found.suspicion, found.flagged, found.cleaned, case.given, case.truth)
    more = {"promised": found.expected_precision, "estimated_rate": found.noise_rate, "cpu_s": spent}
    shown = case.name if method == METHODS[0] else f"  {method or door}"
    return entry(shown, seconds, case=case.name, method=found.method, peak_mib=None, **measures, **more)
