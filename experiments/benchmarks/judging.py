"""How well `ddjax.judge` finds wrong labels in predictions whose truth is known, beside argmax and cleanlab."""

import pathlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ddjax.denoising import judge as find
from ddjax.evaluation.detection import detection
from ddjax.storage.arrays import read_npz
from experiments.benchmarks.measure import Entry, Settings, entry

ARRAYS = ("pred_probs", "given", "truth")
FILTERS = ("prune_by_class", "prune_by_noise_rate", "both", "confident_learning", "low_self_confidence")
FOLDS = 5


class Case(NamedTuple):
    """Predictions for labels whose truth is known; of one network [n k], or of several [s n k]."""

    pred_probs: Float[np.ndarray, "*s n k"]
    given: Int[np.ndarray, "n"]
    truth: Int[np.ndarray, "n"]

    @property
    def mean(self) -> Float[np.ndarray, "n k"]:
        """The mean probabilities of all networks, which argmax and cleanlab judge."""
        return self.pred_probs.reshape(-1, *self.pred_probs.shape[-2:]).mean(axis=0)


def judged(settings: Settings) -> Iterator[Entry]:
    """The rows of every file and of clean digits, then the means over the files."""
    if settings.files is None:
        raise ValueError("judge reads .npz files of pred_probs, given and truth: add --files DIR")
    paths = files_in(settings.files)
    entries = []
    for path in paths:
        for row in compared(path.stem, load(path)):
            entries.append(row)
            yield row
    yield from means(entries, len(paths))
    yield from compared("clean digits", clean_digits())


def files_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The .npz files of a folder; a ValueError if it holds none."""
    if not (paths := sorted(folder.glob("*.npz"))):
        raise ValueError(f"--files {folder} holds no .npz file")
    return paths


def load(path: pathlib.Path) -> Case:
    """The arrays of one file, checked."""
    arrays = read_npz(path)
    if missing := [name for name in ARRAYS if name not in arrays]:
        raise ValueError(f"{path} has no {', '.join(missing)}; it must hold {', '.join(ARRAYS)}")
    case = Case(arrays["pred_probs"], *(arrays[name].astype(np.int32) for name in ARRAYS[1:]))
    if not case.given.shape == case.truth.shape == case.pred_probs.shape[-2:-1]:
        raise ValueError(f"{path}: {', '.join(f'{name} {list(arrays[name].shape)}' for name in ARRAYS)} do not match")
    return case


def clean_digits() -> Case:
    """scikit-learn's digits with their right labels, cross-validated by logistic regression."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    images, truth = load_digits(return_X_y=True)
    model = LogisticRegression(max_iter=1000)
    return Case(cross_val_predict(model, images / 16, truth, cv=FOLDS, method="predict_proba"), truth, truth)


def compared(name: str, case: Case) -> Iterator[Entry]:
    """A row for ddjax, for argmax, and for the filter of cleanlab that suits the truth best, where it is installed."""
    start = time.perf_counter()
    found = find(case.pred_probs, case.given)
    seconds = time.perf_counter() - start
    promise = {"promised": found.expected_precision, "estimated_rate": found.noise_rate}
    corrected = np.where(found.flagged, found.truth.argmax(axis=1), case.given)
    yield _row(name, "ddjax", case, seconds, found.wrong, found.flagged, corrected) | promise
    doubt = 1 - np.take_along_axis(case.mean, case.given[:, None], axis=1)[:, 0]
    likeliest = case.mean.argmax(axis=1)
    yield _row(name, "argmax", case, 0.0, doubt, likeliest != case.given, likeliest)
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        return
    yield _best_filter(name, case, doubt, find_label_issues)


def means(entries: list[Entry], files: int) -> Iterator[Entry]:
    """The mean of every measure for each method, and of the best other method of each file.

    Measures that are undefined for a file, such as F1 where every label is right, are left out.
    """
    ways = len(entries) // files
    for i in range(ways):
        yield _mean(files, entries[i]["method"].split()[0], entries[i::ways])
    others = [_best(entries[row + 1 : row + ways]) for row in range(0, len(entries), ways)]
    yield _mean(files, "best other", others)


def _mean(files: int, method: str, entries: list[Entry]) -> Entry:
    shared = [key for key, value in entries[0].items() if isinstance(value, float) and all(key in e for e in entries)]
    known = {key: [e[key] for e in entries if not np.isnan(e[key])] for key in shared}
    made = {key: float(np.mean(values)) if values else np.nan for key, values in known.items()}
    return _named(f"mean of {files}", method, made.pop("seconds"), made)


def _best(rows: list[Entry]) -> Entry:
    """The row of largest F1; where every label is right and no F1 is defined, that of fewest flags."""
    right = np.isnan(rows[0]["f1"])
    return min(rows, key=lambda row: row["flagged"]) if right else max(rows, key=lambda row: row["f1"])


def _best_filter(name: str, case: Case, doubt: np.ndarray, find_label_issues: Callable[..., np.ndarray]) -> Entry:
    probabilities = case.mean.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    rows = []
    for by in FILTERS:
        start = time.perf_counter()
        flagged = find_label_issues(case.given, probabilities, filter_by=by, n_jobs=1)
        seconds = time.perf_counter() - start
        corrected = np.where(flagged, probabilities.argmax(axis=1), case.given)
        rows.append(_row(name, f"cleanlab {by}", case, seconds, doubt, flagged, corrected))
    return _best(rows)


def _row(
    name: str,
    method: str,
    case: Case,
    seconds: float,
    suspicion: Float[np.ndarray, "n"],
    flagged: Bool[np.ndarray, "n"],
    corrected: Int[np.ndarray, "n"],
) -> Entry:
    measured = detection(suspicion, flagged, corrected, case.given, case.truth)
    return _named(name, method, seconds, measured)


def _named(name: str, method: str, seconds: float, measures: dict[str, float]) -> Entry:
    """A line of the table: the name of the case for ddjax, under it the other methods."""
    shown = name if method == "ddjax" else f"  {method}"
    return entry(shown, seconds, case=name, method=method, peak_mib=None, **measures)
