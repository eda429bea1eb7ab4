"""Inputs of `denoise`: a user's images and labels, checked and numbered before any work."""

import collections
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from ddjax.data.validate import as_array, class_labels, pixels
from ddjax.names import briefly, few
from ddjax.types import TrainSet


def training_set(images: Any, labels: Any, class_names: Sequence[str] | None) -> tuple[TrainSet, tuple[str, ...]]:
    """The pixels with class numbers, and the names of the classes.

    Args:
      images: [n h w c] or [n h w], uint8 or floats from 0 to 1.
      labels: [n] class numbers from 0, or names; not both.
      class_names: of the class numbers; by default the numbers, or the given names in sorted order.

    Returns:
      A training set in the space of pixels, and a name for each of its classes.

    Raises:
      ValueError: images or labels cannot be read, are not as many as each other, or leave a class without an image.
    """
    images = np.asarray(as_array(images, "images"))
    if not images.ndim:
        raise ValueError(f"images must be an array [n h w c]; got {briefly(images)}: ddjax.data.load_all reads files")
    given = one_each(labels, len(images), f"image; images are {images.shape}")
    images, _ = pixels(images, images[:1], "the given")
    numbered, known = class_numbers(given, class_names)
    ids = np.arange(len(numbered), dtype=np.int32)
    return TrainSet(images=images, labels=numbered, ids=ids, num_classes=len(known)), known


def one_each(labels: Any, count: int, what: str) -> np.ndarray:
    """The labels as an array of text or numbers, after a check that there are as many as examples."""
    given = label_array(labels)
    if given.ndim != 1 or len(given) != count or count < 2:
        raise ValueError(f"labels must be [n], one for each {what}; got {given.shape}, and 2 are the fewest")
    return given


def class_numbers(
    given: np.ndarray, class_names: Sequence[str] | None, *, filled: bool = True
) -> tuple[Int[np.ndarray, "n"], tuple[str, ...]]:
    """Class numbers of labels that are numbers or names, and the names of the classes.

    Args:
      given: [n] integers or text.
      class_names: of the class numbers; by default the numbers, or the given names in sorted order.
      filled: whether each class needs an example.

    Raises:
      ValueError: a label is no class, there is only one class, or a class is empty.
    """
    known = None if class_names is None else _names(class_names)
    if given.dtype.kind == "U":
        numbered, known = _numbered(given, known)
    else:
        numbered = class_labels(given, len(given), None if known is None else len(known), "labels")
        largest = int(numbered.max())
        if known is None and largest >= len(numbered):  # and before a name is made for each class
            raise ValueError(f"labels hold class {largest}, but {len(numbered)} examples cannot fill so many classes")
        known = known or tuple(map(str, range(largest + 1)))
    empty = [known[c] for c in np.flatnonzero(np.bincount(numbered, minlength=len(known)) == 0)] if filled else []
    if len(known) < 2:
        raise ValueError(f"labels must be of two classes or more; got {list(known)}")
    if empty:
        raise ValueError(
            f"each class needs an example; without: {few(empty)}. Number the classes from 0 without gaps, or pass "
            "names as labels"
        )
    return numbered, known


def label_array(labels: Any) -> np.ndarray:
    """The labels as an array of text or numbers. NumPy alone would turn [1, "a"] into text, and None as well."""
    found = as_array(labels, "labels")
    if np.ma.is_masked(found):
        raise ValueError("labels hold masked entries: leave out examples without a label")
    found = np.asarray(found)
    mixed = found.dtype.kind in "OT" or (found.dtype.kind in "US" and not isinstance(labels, np.ndarray))
    if found.dtype.kind == "f" and (missing := np.isnan(found)).any():
        raise ValueError(f"labels hold NaN, the first at index {missing.argmax()}: leave out examples without a label")
    if not mixed or found.ndim != 1:
        return np.char.decode(found, "utf-8") if found.dtype.kind == "S" else found
    entries = [entry.decode() if isinstance(entry, bytes) else entry for entry in labels]
    kinds = ["name" if isinstance(entry, str) else "number" if _whole(entry) else None for entry in entries]
    if None in kinds:
        row = kinds.index(None)
        raise ValueError(
            f"labels must be class numbers from 0, or names; got {entries[row]!r} at index {row}: "
            "leave out examples without a label"
        )
    if len(set(kinds)) > 1:
        row = next(row for row, kind in enumerate(kinds) if kind != kinds[0])
        raise ValueError(
            f"labels must be all class numbers or all names; got {entries[0]!r} at index 0 and {entries[row]!r} at "
            f"index {row}"
        )
    return np.array(entries)


def _whole(entry: Any) -> bool:
    return isinstance(entry, numbers.Integral) and not isinstance(entry, bool)


def _names(class_names: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes, each of them once."""
    names = tuple(map(str, class_names))
    if twice := [name for name, count in collections.Counter(names).items() if count > 1]:
        raise ValueError(f"class_names must differ from each other; {twice[:5]} come more than once")
    return names


def _numbered(words: np.ndarray, names: tuple[str, ...] | None) -> tuple[Int[np.ndarray, "n"], tuple[str, ...]]:
    """Class numbers of labels that are names."""
    names = tuple(sorted(set(words.tolist()))) if names is None else names
    number = {name: c for c, name in enumerate(names)}
    if strange := sorted(set(words.tolist()) - set(names)):
        raise ValueError(f"labels {strange[:5]} are not in class_names {list(names)[:20]}")
    return np.array([number[word] for word in words.tolist()], np.int32), names
