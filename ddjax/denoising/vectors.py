"""Features and predictions of a user's own, checked in blocks before any work. They may be memory-mapped."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ddjax.denoising.inputs import class_numbers, label_array, one_each
from ddjax.denoising.judging import SUM
from ddjax.denoising.predictor import FeatureSet
from ddjax.denoising.tables import Table
from ddjax.names import briefly, few

BLOCK = 2**24  # bytes that are read at a time


def feature_set(
    features: np.ndarray, labels: Any, class_names: Sequence[str] | None
) -> tuple[FeatureSet, tuple[str, ...]]:
    """The features with class numbers, and the names of the classes.

    Args:
      features: [n d] numbers; they may be memory-mapped.
      labels: [n] class numbers from 0, or names.
      class_names: of the class numbers.

    Raises:
      ValueError: the features are no such array or hold NaN, or the labels cannot be used.
    """
    if features.ndim != 2 or features.dtype.kind not in "fiub" or not features.shape[1]:
        raise ValueError(
            f"features must be numbers of shape [n d], a row for each example; got {briefly(features)}: flatten other "
            "axes, and replace columns of text by numbers"
        )
    numbered, names = class_numbers(one_each(labels, len(features), f"row of features {features.shape}"), class_names)
    _finite(features, "features")
    return FeatureSet(features, numbered, len(names)), names


def by_class(
    table: Table, labels: Any, class_names: Sequence[str] | None
) -> tuple[np.ndarray, Any, Sequence[str] | None]:
    """Predictions with columns in the order of the classes, the labels, and the names of the classes.

    Args:
      table: predictions.
      labels: the given labels.
      class_names: the names in order. Without them, labels that are names of columns have the order of the columns.
        Numbers are such names, and become text, if the columns are not 0, 1, ... but other numbers.

    Raises:
      ValueError: labels are no array of text or numbers; or they are numbers, and the columns are other numbers; or
        only some of the columns are named after classes.
    """
    values, columns = table
    if columns is None:
        return values, labels, class_names
    given, wanted = label_array(labels), None if class_names is None else [*map(str, class_names)]
    if wanted is None or sorted(columns) != sorted(wanted):
        if given.dtype.kind in "iu" and all(map(str.isdecimal, columns)):
            wanted = [str(c) for c in range(len(columns))]
            if class_names is None and sorted(columns) != sorted(wanted):
                if strange := sorted({*given.ravel().astype(str).tolist()} - {*columns}):
                    raise ValueError(
                        f"labels are numbers, among them {few(strange)}, and the columns of pred_probs are "
                        f"{few(columns)}: name each column after its class"
                    )
                return values, given.astype(str), columns
        elif wanted is None:
            return values, labels, columns if set(columns) & set(given.ravel().tolist()) else None
        elif set(columns) & set(wanted):
            raise ValueError(
                f"the classes are {few(wanted)}, and only some of the columns of pred_probs, {few(columns)}, are named "
                "after them: name each column after its class, or pass pred_probs without names, in the order of the "
                "classes"
            )
    if sorted(columns) == sorted(wanted):
        values = values[:, [columns.index(name) for name in wanted]]
    return values, labels, class_names


def predictions(
    pred_probs: np.ndarray, labels: Any, class_names: Sequence[str] | None
) -> tuple[Float[np.ndarray, "s n k"], Int[np.ndarray, "n"], tuple[str, ...]]:
    """Class probabilities of one or several networks, class numbers, and the names of the classes.

    Args:
      pred_probs: [n k], or [s n k] of s networks.
      labels: [n] class numbers from 0 to k - 1, or names.
      class_names: the name of each column; by default the numbers, or the given names in sorted order.

    Raises:
      ValueError: a row is no probability distribution, or the labels do not fit.
    """
    if pred_probs.ndim not in (2, 3) or pred_probs.dtype.kind != "f" or not pred_probs.size or pred_probs.shape[-1] < 2:
        raise ValueError(
            "pred_probs must be floats of shape [n k] or [s n k], a probability for each of two classes or more; got "
            f"{briefly(pred_probs)}"
        )
    probs = pred_probs.reshape(-1, *pred_probs.shape[-2:])
    _, n, k = probs.shape
    given = one_each(labels, n, f"row of pred_probs {probs.shape[1:]}")
    if class_names is not None and len(class_names) != k:
        raise ValueError(f"class_names must name each of the {k} columns of pred_probs; got {len(class_names)} names")
    if class_names is None and given.dtype.kind != "U":
        class_names = [str(c) for c in range(k)]
    numbered, names = class_numbers(given, class_names, filled=class_names is None)
    if class_names is None and all(map(str.isdecimal, names)) and sorted(names, key=int) != list(names):
        raise ValueError(
            f"labels are numbers written as text, whose order is {few(names)} as names: pass labels.astype(int), or "
            "class_names, the name of each column in order"
        )
    if len(names) != k:
        raise ValueError(
            f"labels are {len(names)} names, and pred_probs have {k} columns: pass class_names, the name of each "
            "column in order, or a table with these names as its header"
        )
    for member in probs:
        _finite(member, "pred_probs")
        for first, rows in blocks(member):
            bad = (rows.min(axis=1) < 0) | (np.abs(rows.sum(axis=1) - 1) > SUM)
            if bad.any():
                row = int(bad.argmax())
                raise ValueError(
                    "pred_probs must be non-negative and sum to 1 in each row; row "
                    f"{first + row} sums to {rows[row].sum():.4g}, its least entry is {rows[row].min():.4g}: "
                    "apply a softmax to logits, or divide each row by its sum"
                )
    return probs, numbered, names


def blocks(array: np.ndarray) -> Iterator[tuple[int, Float[np.ndarray, "b d"]]]:
    """The rows in blocks of `BLOCK` bytes as float32, each with the number of its first row."""
    rows = max(1, BLOCK // (4 * array.shape[1]))
    for first in range(0, len(array), rows):
        with np.errstate(over="ignore"):  # what overflows float32 is found as infinity
            yield first, np.asarray(array[first : first + rows], np.float32)


def _finite(array: np.ndarray, argument: str) -> None:
    count, at = 0, -1
    for first, rows in blocks(array):
        bad = ~np.isfinite(rows).all(axis=1)
        if bad.any() and count == 0:
            at = first + int(bad.argmax())
        count += int(bad.sum())
    if count:
        raise ValueError(
            f"{argument} hold NaN, infinity or a number beyond float32 in {count} of {len(array)} rows, the first at "
            f"row {at}: fill in or leave out these rows, with their labels"
        )
