"""Data sets of the package datasets on disk: what `save_to_disk` wrote, and imagefolders with a file of metadata."""

import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ddjax.data import Dataset
from ddjax.data.images import DECODER, decode_files
from ddjax.names import few

SAVED = ("dataset_info.json", "dataset_dict.json")
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
LABELS = ("label", "labels", "fine_label", "class")


def is_dataset(folder: pathlib.Path) -> bool:
    """Whether `datasets` reads this folder, and not `ddjax.data.load_all`."""
    return folder.is_dir() and any((folder / name).is_file() for name in (*SAVED, *METADATA))


def load(
    folder: pathlib.Path, *, image_size: int | None, image_column: str | None, label_column: str | None
) -> Dataset:
    """Read the images and labels of a folder; of several splits, train.

    Args:
      folder: for which `is_dataset` holds.
      image_size: side to which images are cropped and resized; without it all must have one size.
      image_column, label_column: by default the only column of images, and the only one of labels.

    Raises:
      ValueError: `datasets` is not installed, a label is missing, or a column is not found; the message names those
        that there are.
    """
    rows_of, images = _images(folder, image_column)
    kinds = rows_of.features
    labels = column_of_labels(folder, kinds, label_column)
    given = rows_of.select_columns(labels)[:][labels]
    none = (None, "", -1) if hasattr(kinds[labels], "names") else (None, "")  # -1 of a ClassLabel is no label
    if empty := [row for row, label in enumerate(given) if label in none or label != label]:
        raise ValueError(
            f"{folder}: {len(empty)} labels are missing, the first in row {empty[0]}: fill in or remove them"
        )
    numbers, names = _numbers(np.asarray(given), kinds[labels])
    rows = [str(i) for i in range(len(rows_of))]
    decoded = decode_files(rows, lambda row: _bytes(rows_of[int(row)][images]), image_size=image_size, most_skipped=1.0)
    kept = np.flatnonzero(decoded.kept).astype(np.int32)
    paths = [rows_of[int(row)][images].get("path") for row in kept]
    return Dataset(
        name=folder.resolve().name,
        images=decoded.images,
        labels=numbers[kept].astype(np.int32),
        ids=kept,
        test_images=decoded.images[:0],
        test_labels=numbers[:0].astype(np.int32),
        class_names=tuple(names),
        keys=_keys(paths, kept),
        provenance={"decoder": DECODER, "skipped": decoded.skipped, "image_size": image_size},
    )


def column_of_labels(folder: pathlib.Path, kinds: Mapping[str, Any], chosen: str | None) -> str:
    """The column that is chosen, or the only one of class labels, or of a name in `LABELS`."""
    import datasets

    named = [name for name, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)]
    return _column(folder, "label_column", chosen, kinds, named or [name for name in kinds if name in LABELS])


def raw_images(folder: pathlib.Path, image_column: str | None) -> Callable[[int], bytes]:
    """A function that returns the file of the image in a row."""
    rows, images = _images(folder, image_column)
    return lambda row: _bytes(rows[row][images])


def table(folder: pathlib.Path) -> Any:
    """The rows of a folder; of several splits, train."""
    try:
        import datasets
    except ImportError as error:
        raise ValueError(f"{folder} is a data set of the package datasets: pip install -e '.[hf]'") from error
    if any((folder / name).is_file() for name in SAVED):
        found = datasets.load_from_disk(str(folder))
    else:
        found = datasets.load_dataset("imagefolder", data_dir=str(folder))
    if isinstance(found, datasets.DatasetDict):
        return found["train"] if "train" in found else found[next(iter(found))]
    return found


def _images(folder: pathlib.Path, image_column: str | None) -> tuple[Any, str]:
    """The rows with undecoded images, and the name of their column."""
    found = table(folder)
    import datasets

    pictures = [name for name, kind in found.features.items() if isinstance(kind, datasets.Image)]
    column = _column(folder, "image_column", image_column, found.features, pictures)
    return found.cast_column(column, datasets.Image(decode=False)), column


def _column(folder: pathlib.Path, option: str, chosen: str | None, kinds: Collection[str], found: Sequence[str]) -> str:
    """The column that is chosen, or the only one that is found."""
    if chosen in kinds:
        return chosen
    if chosen is None and len(found) == 1:
        return found[0]
    raise ValueError(
        f"{folder} has the columns {few(list(kinds))}: name one of them by {option}="
        + (f"; got {chosen!r}" * bool(chosen))
    )


def _numbers(labels: np.ndarray, kind: Any) -> tuple[np.ndarray, list[str]]:
    if names := getattr(kind, "names", None):
        return labels, list(names)
    names, numbers = np.unique(labels.astype(str) if labels.dtype == object else labels, return_inverse=True)
    return numbers, names.astype(str).tolist()


def _bytes(image: dict[str, Any]) -> bytes:
    return image["bytes"] if image["bytes"] is not None else pathlib.Path(image["path"]).read_bytes()


def _keys(paths: list[str | None], kept: np.ndarray) -> np.ndarray:
    """The file names, if each is there once; otherwise the rows."""
    if None in paths or len(set(paths)) < len(paths):
        return np.array([f"row_{row}" for row in kept])
    return np.array(paths)
