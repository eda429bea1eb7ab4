"""Distilled images side by side in one array."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from ddjax.distilled import DistilledSet


def rows_by_class(distilled: DistilledSet, shown: Sequence[int], most: int) -> list[Int[np.ndarray, "m"]]:
    """The numbers of the first images of each class in `shown`.

    Images with learned labels are sorted by class: the largest entry of a label may be another class than the image's.
    """
    k, labels = distilled.num_classes, np.asarray(distilled.labels)
    classes = labels if labels.ndim == 1 else labels.argmax(axis=1)
    if labels.ndim > 1 and len(set(np.bincount(classes, minlength=k))) > 1:
        classes = np.arange(len(labels)) * k // len(labels)
    return [np.flatnonzero(classes == c)[:most] for c in shown]


def mosaic(images: Float[np.ndarray, "m h w c"], rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return uint8 [H W c]: the images side by side without gaps; short rows are filled with grey."""
    _, h, w, c = images.shape
    columns = max(len(row) for row in rows)
    sheet = np.full((len(rows) * h, columns * w, c), 128, np.uint8)
    for i, row in enumerate(rows):
        for j, member in enumerate(row):
            sheet[i * h : (i + 1) * h, j * w : (j + 1) * w] = np.round(255 * images[member])
    return sheet
