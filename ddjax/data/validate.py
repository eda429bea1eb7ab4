"""Checks and conversions of the arrays of a data set. Every problem has its own error message."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Int32

from ddjax.data.dataset import Dataset
from ddjax.data.mapped import taken
from ddjax.names import few
from ddjax.storage.files import array_digest

DARK = 16  # the digits of scikit-learn have this value for white
TEST_FRACTION = 0.2  # share of the test set, for a source without one


def held_out(keys: Sequence[str] | np.ndarray) -> Bool[np.ndarray, "n"]:
    """Choose a fifth of the examples as the test set, by SHA-256 of the key of each example.

    The choice for an example depends only on its key, so it does not change when others are added or removed.

    Example:
      >>> held_out(["a", "b", "c", "d"]).dtype
      dtype('bool')
    """
    limit = int(TEST_FRACTION * 2**32)
    return np.array([int(hashlib.sha256(str(k).encode()).hexdigest()[:8], 16) < limit for k in keys], bool)


def as_array(values: Any, what: str) -> np.ndarray:
    """The values as an array. An array in a file stays one.

    Raises:
      ValueError: they are no array, such as a list of images that differ in size.
    """
    try:
        return np.asanyarray(values)
    except ValueError as error:
        raise ValueError(f"{what} must be one array, or a list of entries of one size: {error}") from error


def check_layout(shape: tuple[int, ...], dtype: np.dtype, what: str) -> None:
    """Raise a ValueError for a shape and dtype that cannot be images."""
    if len(shape) not in (3, 4):
        raise ValueError(f"{what} must have shape [n h w c] or [n h w]; got {list(shape)}")
    if not all(shape):
        raise ValueError(f"{what} is empty: shape {list(shape)}")
    if len(shape) == 4 and shape[3] not in (1, 3):
        if shape[1] in (1, 3):
            raise ValueError(
                f"{what} has shape {list(shape)}, channels first; ddjax is channels last: "
                "save images.transpose(0, 2, 3, 1) instead"
            )
        raise ValueError(f"{what} must have 1 (grey) or 3 (RGB) channels last; got shape {list(shape)}")
    if dtype.kind not in "iuf":
        raise ValueError(f"{what} must hold uint8 pixels, or floats in [0, 1]; got dtype {dtype}")


def _layout(images: np.ndarray, what: str) -> np.ndarray:
    check_layout(images.shape, images.dtype, what)
    return images[..., None] if images.ndim == 3 else images


def _uint8(images: np.ndarray, what: str, unit: bool) -> np.ndarray:
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
        raise ValueError(f"{what} holds NaN or infinity in {len(bad)} images, the first at row {bad[0]}")
    low, high = images.min(), images.max()
    if low < 0 or high > 255:
        raise ValueError(
            f"{what} runs from {low:g} to {high:g}; pixels must lie in [0, 255], or in [0, 1] as floats: "
            "undo any standardisation first (preprocessing is applied later, by name)"
        )
    if images.dtype.kind == "f":
        images = np.rint(images * 255.0) if unit else np.rint(images)
    return images.astype(np.uint8)


def pixels(images: np.ndarray, test_images: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Convert both image arrays to uint8 [n h w c]. Floats are in [0, 1] if no array exceeds 1, and else in [0, 255].

    Raises:
      ValueError: an array has another layout, range or dtype, or the shapes differ, or white seems to be DARK or less.
    """
    pair = {f"{what} images": images, f"{what} test images": test_images}
    pair = {name: _layout(array, name) for name, array in pair.items()}
    floats = [a for a in pair.values() if a.dtype.kind == "f"]
    known = floats or list(pair.values())
    brightest = max(float(np.fmax.reduce(a, axis=None)) for a in known)  # NaN does not count
    if (1 if floats else 0) < brightest <= DARK and not any((a < 0).any() for a in known):
        how = "are floats up to {:g}: clip them to [0, 1], or" if floats else "are integers up to {:g} and not 255:"
        raise ValueError(f"{what} images {how.format(brightest)} divide them by the value of white")
    images, test_images = (_uint8(array, name, brightest <= 1) for name, array in pair.items())
    if images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"{what}: training images are {list(images.shape[1:])}, test images {list(test_images.shape[1:])}"
        )
    return images, test_images


def check_labels(shape: tuple[int, ...], dtype: np.dtype, count: int, what: str) -> None:
    """Raise a ValueError for a shape and dtype that cannot be `count` class numbers."""
    if len(shape) == 2 and shape[1] != 1:
        raise ValueError(f"{what} has shape {list(shape)}: class numbers are expected, perhaps labels.argmax(1)")
    if shape not in ((count,), (count, 1)):
        raise ValueError(f"{what} has shape {list(shape)}, but there are {count} examples")
    if dtype.kind not in "iu":
        how = "number the classes, as numpy.unique(labels, return_inverse=True) does"
        how = how if dtype.kind in "OSTU" else "convert it with astype(int)"
        raise ValueError(f"{what} must hold integers from 0; got dtype {dtype}: {how}")


def class_labels(labels: np.ndarray, count: int, num_classes: int | None, what: str) -> Int32[np.ndarray, "n"]:
    """Convert `labels` to int32 [count], each in 0..num_classes-1. With num_classes=None any number is allowed.

    Raises:
      ValueError: a label is out of range.
    """
    check_labels(labels.shape, labels.dtype, count, what)
    labels = labels.reshape(count)
    if labels.min() < 0:
        raise ValueError(f"{what} holds {labels.min()}, first at row {np.argmax(labels < 0)}; classes count from 0")
    if num_classes is not None and labels.max() >= num_classes:
        raise ValueError(
            f"{what} holds class {labels.max()}, first at row {np.argmax(labels >= num_classes)}, "
            f"but there are {num_classes} classes, 0 to {num_classes - 1}"
        )
    if labels.max() >= 2**31:
        raise ValueError(f"{what} holds {labels.max()}, which is too large for a class number")
    return labels.astype(np.int32)


def numbered(labels: Int[np.ndarray, "n"], what: str) -> list[str]:
    """The names "0", "1", ... for classes without names.

    Raises:
      ValueError: the largest label is at least the number of labels, so there must be gaps.
    """
    if labels.max() >= len(labels):
        raise ValueError(
            f"{what} holds class {labels.max()} among {len(labels)} labels; number the classes 0..k-1 without gaps"
        )
    return [str(c) for c in range(labels.max() + 1)]


def small_classes(labels: Int[np.ndarray, "n"], names: Sequence[str], least: int) -> str | None:
    """A message that names the classes with fewer than `least` labels; None if there are none."""
    counts = np.bincount(labels, minlength=len(names))
    small = np.flatnonzero(counts < least)
    if not len(small):
        return None
    some = few([f"{str(names[c])!r} ({counts[c]})" for c in small])
    fewer = f", or ask for ipc={counts.min()}" if counts.min() else ""
    return (
        f"ipc={least} is more images than {len(small):,} of {len(names):,} classes have: {some}; add images, or leave "
        f"those classes out{fewer}"
    )


def assemble(
    name: str,
    *,
    images: Any,
    labels: Any,
    test_images: Any,
    test_labels: Any,
    class_names: Sequence[str] | None = None,
    ids: Any = None,
    keys: Any = None,
    extra_labels: Mapping[str, Any] | None = None,
    canonical: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> Dataset:
    """Check the arrays and make a `Dataset` in ascending id, with counts and a digest in its provenance.

    Args:
      name: of the data set.
      images: [n h w c] or [n h w], uint8 or floats in [0, 1] or [0, 255].
      labels: integers [n] or [n 1]. Every class needs a training example.
      test_images: like `images`.
      test_labels: like `labels`.
      class_names: by default "0", "1", ... up to the largest label.
      ids: canonical ids; by default the rows.
      keys: the name of each example in its source.
      extra_labels: other label vectors, by name.
      canonical: whether this is the complete published training set.
      provenance: where the data come from, as JSON.

    Returns:
      The data set.

    Raises:
      ValueError: an array does not fit; the message names it.

    Example:
      >>> images, labels = np.zeros((4, 8, 8)), np.array([0, 1, 1, 0])
      >>> assemble("mine", images=images, labels=labels, test_images=images, test_labels=labels).images.shape
      (4, 8, 8, 1)
    """
    images, test_images = as_array(images, f"{name} images"), as_array(test_images, f"{name} test images")
    images, test_images = pixels(images, test_images, name)
    labels, test_labels = np.asarray(labels), np.asarray(test_labels)
    num_classes = None if class_names is None else len(class_names)
    labels = class_labels(labels, len(images), num_classes, f"{name} labels")
    if class_names is None:
        class_names = numbered(labels, f"{name} labels")
    test_labels = class_labels(test_labels, len(test_images), len(class_names), f"{name} test labels")
    missing = np.flatnonzero(np.bincount(labels, minlength=len(class_names)) == 0)
    if len(missing):
        some = ", ".join(repr(str(class_names[c])) for c in missing[:5])
        raise ValueError(
            f"{name} has no training example for {len(missing)} of {len(class_names)} classes ({some}); "
            "number the classes 0..k-1 without gaps, or leave those classes out"
        )
    ids = np.arange(len(images)) if ids is None else np.asarray(ids)
    ids = class_labels(ids, len(images), None, f"{name} ids")
    unique, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{name} has duplicate ids: {unique[counts > 1][:5].tolist()}; each example needs its own")
    extra_labels = {other: np.asarray(vector) for other, vector in (extra_labels or {}).items()}
    for other, vector in extra_labels.items():
        check_labels(vector.shape, vector.dtype, len(images), f"{name} extra_labels {other!r}")
    extra_labels = {k: v.reshape(len(images)).astype(np.int32) for k, v in extra_labels.items()}
    keys = None if keys is None else np.asarray(keys, np.str_)
    if (np.diff(ids) < 0).any():
        order = np.argsort(ids)
        images, labels, ids = taken(images, order), labels[order], ids[order]
        keys = None if keys is None else keys[order]
        extra_labels = {k: v[order] for k, v in extra_labels.items()}
    return Dataset(
        name=name,
        images=images,
        labels=labels,
        ids=ids,
        test_images=test_images,
        test_labels=test_labels,
        class_names=tuple(str(c) for c in class_names),
        keys=keys,
        extra_labels=extra_labels,
        canonical=canonical,
        provenance={
            **(provenance or {}),
            "counts": {"train": len(images), "test": len(test_images)},
            "digest": array_digest(images, labels, ids, test_images, test_labels),
        },
    )
