"""Load every labelled image of the files of a user, without a held-out test set, for cleaning labels."""

import os
import pathlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ddjax.data import cache, folder, npz, processes, tables
from ddjax.data.dataset import Dataset
from ddjax.data.images import DECODER, decode_files
from ddjax.data.loading import NAMES, load
from ddjax.data.source import Source, Work, listing_digest
from ddjax.data.validate import class_labels, numbered, pixels, small_classes
from ddjax.storage.arrays import npz_headers, read_npz
from ddjax.storage.files import array_digest, cache_dir, expanded

Report = Callable[[int, int], None] | None


def load_all(
    name: str | os.PathLike,
    *,
    image_size: int | None = None,
    data_dir: str | os.PathLike | None = None,
    least: int = 1,
    report: Report = None,
) -> Dataset:
    """Load all images of a folder, .npz or .csv as the training set, with an empty test set.

    A folder contributes its `train` and `test` parts, a .csv all rows, and an .npz only the training arrays; a warning
    names parts of a folder that are not read. Unreadable files are skipped, regardless of their number, and listed in
    provenance["skipped"]. Ids are those of `load`. A named set is loaded by `load`, with its test set. Many image files
    are decoded once into the cache, fewer ones each time.

    Args:
      name: a path, or a name as for `load`; a folder of a known name is read with a warning.
      image_size: side to which the central square of every image is resized; without it all must have one size.
      data_dir: the TFDS directory.
      least: smallest number of images in a class of a folder, .npz or .csv.
      report: as for `load`.

    Returns:
      The data set.

    Raises:
      ValueError: the files cannot be read; for a folder the message lists all problems.

    Example:
      >>> import tempfile
      >>> path = tempfile.mkdtemp() + "/a.npz"
      >>> np.savez(path, images=np.zeros((4, 8, 8, 1), np.uint8), labels=np.arange(4) % 2)
      >>> load_all(path).labels.tolist()
      [0, 1, 0, 1]
    """
    if not name:
        return load(name)  # which says what a name may be; an empty path is the working directory
    path = expanded(name)
    if path.is_dir():
        if name in NAMES:
            warnings.warn(f"{name} is the folder {path.absolute()} here, not the data set of that name", stacklevel=2)
        return _folder(path, image_size, least, report)
    if path.suffix == ".csv" and path.is_file():
        return _csv(path, image_size, least, report)
    if path.suffix == ".npz" and path.is_file():
        return _npz(path, least)
    return load(name, image_size=image_size, data_dir=data_dir, report=report)


def _folder(root: pathlib.Path, image_size: int | None, least: int, report: Report) -> Dataset:
    train, test = folder.listings(root, image_size, least)
    files = [*train, *(test or [])]
    names, labels = np.unique([file.label for file in files], return_inverse=True)
    paths = [file.path for file in files]
    return _decoded(root.name, root, paths, labels, names.tolist(), image_size, report)


def _csv(path: pathlib.Path, image_size: int | None, least: int, report: Report) -> Dataset:
    rows = tables.csv_rows(path)
    labels, names = tables.class_numbers(rows, path)
    _check_sizes(path, labels, names, least)
    return _decoded(path.stem, path.parent, rows.paths, labels, names, image_size, report)


def _check_sizes(path: pathlib.Path, labels: np.ndarray, names: Sequence[str], least: int) -> None:
    if least > 1 and (problem := small_classes(labels, names, least)):
        raise ValueError(f"{path}: {problem}")


def _decoded(
    name: str,
    root: pathlib.Path,
    files: list[str],
    labels: np.ndarray,
    class_names: Sequence[str],
    image_size: int | None,
    report: Report,
) -> Dataset:
    def read(work: Work | None = None) -> Dataset:
        decoded = decode_files(files, root, image_size=image_size, most_skipped=1.0, work=work)
        ids = np.flatnonzero(decoded.kept)
        return _dataset(
            name,
            decoded.images,
            labels[ids],
            class_names,
            ids=ids,
            keys=[files[i] for i in ids],
            provenance={"decoder": DECODER, "skipped": decoded.skipped, "image_size": image_size},
        )

    if len(files) < processes.MANY:
        return read()
    there = [(file, (root / file).stat()) for file in files if (root / file).exists()]
    given = array_digest(np.asarray(files, np.str_), labels, np.asarray(class_names, np.str_))
    same = {"path": str(root.resolve()), "files": listing_digest(there), "image_size": image_size, "given": given}
    return cache.fetch(Source(name, {"kind": "all", **same}, read), cache_dir(), report=report)


def _npz(path: pathlib.Path, least: int) -> Dataset:
    keys = npz.npz_keys(path, npz_headers(path))
    arrays = read_npz(path, {*keys[:2], "ids", "class_names"})
    images, _ = pixels(arrays[keys[0]], arrays[keys[0]][:1], path.stem)
    named = npz.class_names(path, arrays)
    labels = class_labels(arrays[keys[1]], len(images), named and len(named), f"{path.stem} labels")
    named = named or numbered(labels, f"{path.stem} labels")
    _check_sizes(path, labels, named, least)
    ids = class_labels(arrays.get("ids", np.arange(len(images))), len(images), None, f"{path.stem} ids")
    order = np.argsort(ids, kind="stable")
    rows = np.array([f"row_{i}" for i in range(len(images))])
    return _dataset(path.stem, images[order], labels[order], named, ids[order], rows[order], {"skipped": []})


def _dataset(
    name: str,
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    ids: np.ndarray,
    keys: Sequence[str] | np.ndarray,
    provenance: dict[str, Any],
) -> Dataset:
    return Dataset(
        name=name or "folder",
        images=images,
        labels=labels.astype(np.int32),
        ids=ids.astype(np.int32),
        test_images=images[:0],
        test_labels=labels[:0].astype(np.int32),
        class_names=tuple(map(str, class_names)),
        keys=np.asarray(keys, np.str_),
        provenance=provenance,
    )
