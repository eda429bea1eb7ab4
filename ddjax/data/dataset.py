"""The record that every loader returns: arrays on the host, with a stable id for each example."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int, Int32, UInt8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images and labels as published, in ascending canonical id.

    An id is the position of an example in its published training set (CIFAR batches 1..5 concatenated, rows of a file,
    class folders sorted by name and files sorted as strings). It does not depend on the reading order, on damaged files
    that are left out, or on subsets. Label noise, long tails and seeds refer to it. The arrays may be read-only views
    of files on disk.
    """

    name: str
    images: UInt8[np.ndarray, "n h w c"]
    labels: Int32[np.ndarray, "n"]  # as published with the data: clean for the benchmark sets
    ids: Int32[np.ndarray, "n"]  # strictly ascending
    test_images: UInt8[np.ndarray, "m h w c"]
    test_labels: Int32[np.ndarray, "m"]
    class_names: tuple[str, ...]
    keys: np.ndarray | None = None  # str [n]: the name of each example in its source (TFDS id, relative path, row)
    extra_labels: Mapping[str, Int32[np.ndarray, "n"]] = dataclasses.field(default_factory=dict)
    canonical: bool = False  # the complete published training set: published label vectors and checksums apply
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # JSON: source, version, decoder, digest

    def __post_init__(self):
        """Check shapes, dtypes and labels. `validate.assemble` accepts floats and other layouts."""
        rows = {"labels": self.labels, "ids": self.ids, "keys": self.keys, **self.extra_labels}
        for what, array in rows.items():
            if array is not None and array.shape != (len(self.images),):
                raise ValueError(f"{self.name}: {what} has shape {array.shape} beside {len(self.images)} images")
        if self.test_labels.shape != (len(self.test_images),):
            raise ValueError(
                f"{self.name}: test_labels has shape {self.test_labels.shape} beside {len(self.test_images)} images"
            )
        for what, array in {"images": self.images, "test_images": self.test_images}.items():
            if array.dtype != np.uint8 or array.ndim != 4:
                raise ValueError(
                    f"{self.name}: {what} must be uint8 [n h w c]; got {array.dtype}{list(array.shape)}: "
                    "ddjax.data.validate.assemble reads floats and other layouts"
                )
        for what, array in {"labels": self.labels, "test_labels": self.test_labels}.items():
            if len(array) and not (array.min() >= 0 and array.max() < len(self.class_names)):
                raise ValueError(
                    f"{self.name}: {what} must lie in 0..{len(self.class_names) - 1}, the numbers of class_names; "
                    f"got {array.min()}..{array.max()}"
                )
        if (np.diff(self.ids) <= 0).any():
            raise ValueError(f"{self.name}: ids must be strictly ascending; sort the rows by id and drop duplicates")

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return tuple(self.images.shape[1:])


def _rows(dataset: Dataset, rows: slice | np.ndarray) -> Dataset:
    complete = len(dataset.images[rows]) == len(dataset.images)
    return dataclasses.replace(
        dataset,
        images=dataset.images[rows],
        labels=dataset.labels[rows],
        ids=dataset.ids[rows],
        keys=None if dataset.keys is None else dataset.keys[rows],
        extra_labels={name: labels[rows] for name, labels in dataset.extra_labels.items()},
        canonical=dataset.canonical and complete,
        provenance={**dataset.provenance, **({} if complete else {"rows": len(dataset.labels[rows])})},
    )


def subset(dataset: Dataset, count: int) -> Dataset:
    """The first `count` training examples in canonical order, with the complete test set.

    If the canonical order is sorted by class (image folders, Tiny-ImageNet), the first examples belong to the first
    classes. Use `select` with ids of your choice in that case.

    Args:
      dataset: the data set.
      count: number of training examples.

    Returns:
      The smaller data set.

    Raises:
      ValueError: `count` is out of range.

    Example:
      >>> from ddjax.data import synthetic
      >>> len(subset(synthetic(), 10).images)
      10
    """
    if not isinstance(count, (int, np.integer)) or not 1 <= count <= len(dataset.ids):
        raise ValueError(f"subset() takes a count from 1 to {len(dataset.ids)} for {dataset.name}; got {count}")
    return _rows(dataset, slice(count))


def select(dataset: Dataset, ids: Int[np.ndarray, "m"]) -> Dataset:
    """The training examples with these canonical ids, in ascending id, with the complete test set.

    Args:
      dataset: the data set.
      ids: canonical ids, each once, in any order.

    Returns:
      The smaller data set.

    Raises:
      ValueError: an id is repeated or unknown.

    Example:
      >>> from ddjax.data import synthetic
      >>> select(synthetic(), np.array([7, 2])).ids.tolist()
      [2, 7]
    """
    wanted, counts = np.unique(ids, return_counts=True)
    if not len(wanted):
        raise ValueError("select() got no ids")
    if (counts > 1).any():
        raise ValueError(f"select() takes each id once; repeated: {wanted[counts > 1][:5].tolist()}")
    missing = np.setdiff1d(wanted, dataset.ids, assume_unique=True)
    if len(missing):
        raise ValueError(
            f"{dataset.name} has no training example with id {missing[:5].tolist()} ({len(missing)} unknown ids); "
            f"it has {len(dataset.ids)} ids from {dataset.ids[0]} to {dataset.ids[-1]}"
        )
    return _rows(dataset, np.searchsorted(dataset.ids, wanted))
