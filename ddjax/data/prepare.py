"""Add label noise to a data set and separate the training set, the clean labels and the test set."""

import dataclasses
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np

from ddjax import checks, preprocess
from ddjax.data.dataset import Dataset, select, subset
from ddjax.names import few
from ddjax.noise import NoiseSpec, long_tail
from ddjax.noise import apply as corrupt
from ddjax.ranges import Count, Range, check, checked
from ddjax.types import PIXELS, Audit, TestSet, TrainSet


class Prepared(NamedTuple):
    """A data set with label noise. `train` holds the given labels, `audit` the clean labels in the same order."""

    train: TrainSet
    audit: Audit
    test: TestSet
    noise: dict[str, Any]  # record of the noise: kind, rates, counts, checksum of the labels


@checked
def prepare(
    dataset: Dataset,
    noise: NoiseSpec,
    *,
    limit: Count | None = None,
    imbalance: Annotated[float, Range(1)] | None = None,
    probabilities: Any = None,
) -> Prepared:
    """Add noise to the training labels of `dataset`, and separate the given labels from the clean ones.

    Args:
      dataset: the data set.
      noise: the label noise.
      limit: number of training examples to keep, from the first. The noise is drawn on the whole set first, so a label
        does not depend on `limit`.
      imbalance: ratio of the largest to the smallest class of a long-tailed subset. The subset is chosen by clean label
        before the noise is drawn.
      probabilities: predictions of a teacher for all of `dataset` [n k], for margin-dependent noise.

    Returns:
      The training set with given labels, the clean labels, the test set, and a record of the noise.

    Raises:
      ValueError: an argument is out of range, or does not fit the data set.

    Example:
      >>> from ddjax.data import synthetic
      >>> data = prepare(synthetic(3, 100), NoiseSpec("symmetric", rate=0.4))
      >>> bool(abs((data.train.labels != data.audit.labels).mean() - 0.4) < 0.1)
      True
    """
    checks.kind(dataset, Dataset, "dataset", "ddjax.load makes one, and ddjax.data.assemble one of arrays")
    checks.kind(noise, NoiseSpec, "noise", 'ddjax.NoiseSpec("symmetric", rate=0.4), say')
    if imbalance is not None:
        sizes = np.bincount(dataset.labels, minlength=dataset.num_classes)
        if lacking := np.flatnonzero(sizes == 0).tolist():
            raise ValueError(
                f"imbalance={imbalance:g} needs examples of every class; dataset has none of the classes {few(lacking)}"
                ": select other examples, or leave imbalance out"
            )
        head = int(sizes.min())  # all classes have it
        rows = long_tail(dataset.labels, imbalance, head)
        if empty := np.setdiff1d(np.arange(dataset.num_classes), dataset.labels[rows]).tolist():
            raise ValueError(
                f"imbalance={imbalance:g} leaves no example of the classes {few(empty)}: the smallest class has {head} "
                f"before, so lower it to {max(1, head - 1)} or less"
            )
        if probabilities is not None:
            n, count = len(dataset.images), len(probabilities)
            if count != n:
                raise ValueError(f"probabilities must have {n} rows, one for each example; got {count}")
            probabilities = np.asarray(probabilities)[rows]
        dataset = select(dataset, dataset.ids[rows])
    if limit is not None:
        check(limit, Annotated[int, Range(1, len(dataset.images))], "limit")
    given, record = corrupt(
        noise,
        dataset.labels,
        dataset.ids,
        dataset.num_classes,
        dataset.name,
        images=dataset.images,
        probabilities=probabilities,
        others=dataset.extra_labels,
    )
    kept = dataset if limit is None else subset(dataset, limit)
    rows = np.searchsorted(dataset.ids, kept.ids)
    given = given[rows]
    record = {**record, "used": len(rows), "used_effective_rate": float(np.mean(given != kept.labels))}
    k = dataset.num_classes
    return Prepared(
        TrainSet(images=kept.images, labels=given, ids=kept.ids, num_classes=k),
        Audit(ids=kept.ids, labels=kept.labels, num_classes=k),
        TestSet(images=kept.test_images, labels=kept.test_labels, num_classes=k),
        record,
    )


Data = TypeVar("Data", Prepared, TrainSet, TestSet)


def to_space(data: Data, transform: preprocess.Preprocess, images: str | None = None) -> Data:
    """Preprocess images: move them from pixels to the space of `transform`.

    Args:
      data: what `prepare` returns, or one of its sets. Images that are in that space already stay as they are.
      transform: the preprocessing, from `preprocess.fit`.
      images: None makes floats on the device. "device", "host" and "auto" keep the pixels of a training set as bytes
        and preprocess the rows that are asked for, `images[rows]`; see `preprocess.stored`. Test images are floats.

    Returns:
      The same examples with preprocessed images.

    Raises:
      ValueError: an argument has a wrong type, or the images are in the space of another preprocessing.

    Example:
      >>> import ddjax
      >>> from ddjax import preprocess
      >>> data = ddjax.prepare(ddjax.synthetic(2, 4, (4, 4, 1)), ddjax.NoiseSpec())
      >>> transform = preprocess.fit("unit", data.train.images)
      >>> to_space(data, transform).train.space == transform.fingerprint
      True
    """
    if not isinstance(data, TrainSet | TestSet):
        checks.kind(data, Prepared, "data", "ddjax.prepare makes one")
    checks.kind(transform, preprocess.Preprocess, "transform", 'preprocess.fit("standardize", images) makes one')
    if isinstance(data, Prepared):
        return data._replace(train=to_space(data.train, transform, images), test=to_space(data.test, transform))
    check_space(data, transform)
    if data.space == transform.fingerprint:
        return data
    if images is None or isinstance(data, TestSet):
        moved = preprocess.apply(transform, data.images)
    else:
        moved = preprocess.stored(transform, data.images, images)
    return dataclasses.replace(data, images=moved, space=transform.fingerprint)


def check_space(data: TrainSet | TestSet, transform: preprocess.Preprocess) -> None:
    """Raise a ValueError for images that are neither pixels nor in the space of `transform`."""
    if data.space not in (PIXELS, transform.fingerprint):
        raise ValueError(
            f"images in {data.space!r} cannot be moved to {transform.fingerprint!r}: start from the uint8 pixels that "
            "ddjax.prepare gives"
        )
