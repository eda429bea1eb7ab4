"""Every labelled image of a user's files, none held out: what a cleaner of labels looks at."""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ddjax.data import folder, tables
from ddjax.data.dataset import Dataset
from ddjax.data.images import DECODER, decode_files
from ddjax.data.loading import load
from ddjax.data.validate import class_labels, pixels
from ddjax.files import read_npz


def load_whole(
    name: str | os.PathLike, *, image_size: int | None = None, data_dir: str | os.PathLike | None = None
) -> Dataset:
    """All images of a folder, .npz or .csv as the training set, and an empty test set.

    Of a folder with `train` and `test` both are taken; so are all rows of a .csv, but of an .npz only the training
    arrays. Files that cannot be read are left out however many they are, and named in provenance["skipped"]. Ids are
    those that `load` gives. Of a set with a name the training set is taken, and its test set is left with it.
    """
    path = pathlib.Path(name).expanduser()
    if path.is_dir():
        return _folder(path, image_size)
    if path.suffix == ".csv" and path.is_file():
        return _csv(path, image_size)
    if path.suffix == ".npz" and path.is_file():
        return _npz(path)
    return load(name, image_size=image_size, data_dir=data_dir)


def _folder(root: pathlib.Path, image_size: int | None) -> Dataset:
    train, test = folder.listings(root)
    files = [*train, *(test or [])]
    names = sorted({file.label for file in files})
    number = {name: c for c, name in enumerate(names)}
    labels = np.array([number[file.label] for file in files])
    return _decoded(root.name, [f.path for f in files], labels, names, lambda p: (root / p).read_bytes(), image_size)


def _csv(path: pathlib.Path, image_size: int | None) -> Dataset:
    files, words, _ = tables.csv_rows(path)
    labels, names = tables.class_numbers(words, path)
    names = names or [str(c) for c in range(labels.max() + 1)]
    return _decoded(path.stem, files, labels, names, lambda file: (path.parent / file).read_bytes(), image_size)


def _decoded(
    name: str,
    files: list[str],
    labels: np.ndarray,
    class_names: Sequence[str],
    read: Callable[[str], bytes],
    image_size: int | None,
) -> Dataset:
    found = decode_files(files, read, image_size=image_size, most_skipped=1.0)
    ids = np.flatnonzero(found.kept)
    return _dataset(
        name,
        found.images,
        labels[ids],
        class_names,
        ids=ids,
        keys=[files[i] for i in ids],
        provenance={"decoder": DECODER, "skipped": found.skipped, "image_size": image_size},
    )


def _npz(path: pathlib.Path) -> Dataset:
    arrays = read_npz(path)
    keys = tables.npz_keys(path, arrays)
    images, _ = pixels(arrays[keys[0]], arrays[keys[0]][:1], path.stem)
    labels = class_labels(arrays[keys[1]], len(images), None, f"{path.stem} labels")
    named = arrays["class_names"].astype(str) if "class_names" in arrays else range(int(labels.max()) + 1)
    ids = arrays.get("ids", np.arange(len(images)))
    order = np.argsort(ids, kind="stable")
    rows = np.array([f"row_{i}" for i in range(len(images))])
    return _dataset(
        path.stem, images[order], labels[order], [str(c) for c in named], ids[order], rows[order], {"skipped": []}
    )


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
        class_names=tuple(class_names),
        keys=np.asarray(keys, np.str_),
        provenance=provenance,
    )
