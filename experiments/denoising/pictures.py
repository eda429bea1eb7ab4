"""Pictures at their full size, from the files of a data set where there are any."""

import io
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from ddjax.data import Dataset
from ddjax.storage.files import expanded
from experiments.denoising import huggingface
from experiments.denoising.embedding import Open


def opener(source: str, dataset: Dataset, rows: np.ndarray, image_column: str | None) -> Open:
    """A function that opens the picture of a row, upright.

    Args:
      source: path or name of the data set.
      dataset: as loaded from the source.
      rows: of the data set that are judged.
      image_column: of a folder of the package datasets.
    """
    path = expanded(source)
    if huggingface.is_dataset(path):
        raw = huggingface.raw_images(path, image_column)
        return lambda row: _upright(io.BytesIO(raw(int(dataset.ids[rows[row]]))))
    names = None if dataset.keys is None else dataset.keys[rows]
    if names is not None and (paths := files(source, dataset, names)):
        return lambda row: _upright(paths[row])
    return lambda row: Image.fromarray(np.squeeze(dataset.images[rows[row]]))


def files(source: str, dataset: Dataset, names: Sequence[str] | np.ndarray) -> list[pathlib.Path] | None:
    """The file of each name, if the source is a folder or a .csv of images; otherwise None."""
    path = expanded(source)
    if dataset.keys is None or huggingface.is_dataset(path) or not (path.is_dir() or path.suffix == ".csv"):
        return None
    root = path if path.is_dir() else path.parent
    return [root / name for name in names]


def _upright(file: pathlib.Path | io.BytesIO) -> Image.Image:
    with Image.open(file) as image:
        if image.mode.startswith("I"):  # 16-bit grey
            image = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
        return ImageOps.exif_transpose(image).convert("RGB")
