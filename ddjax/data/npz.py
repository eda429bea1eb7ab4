"""Data sets in one .npz, which needs neither TensorFlow nor a decoder.

| array | content |
|---|---|
| images, labels | training set: uint8 [n h w c] (or floats in [0, 1]) and class numbers [n] |
| test_images, test_labels | test set; without it a fifth of the rows is held out |
| labels_NAME | further label vectors [n]: those of CIFAR-N's set NAME, such as labels_worst, or for an annotator |
| ids | canonical ids [n]; by default the rows |
| class_names | names of the classes |
| name | name of the data set, which rows of results show; by default that of the file |
| canonical | whether this is the complete published training set; by default yes |
"""

import pathlib
from collections.abc import Mapping

import numpy as np

from ddjax.data.dataset import Dataset
from ddjax.data.source import Source
from ddjax.data.validate import assemble, check_labels, check_layout, held_out
from ddjax.storage.arrays import Header, npz_headers, read_npz
from ddjax.storage.files import replacing, sha256

# training images, training labels, test images, test labels; the last two are optional
NPZ_KEYS = (
    ("images", "labels", "test_images", "test_labels"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
)
# name of the data set (the file's by default), ids and names of classes, and whether the training set is complete
OPTIONAL = ("name", "ids", "class_names", "canonical")
OTHER = "labels_"  # labels_NAME: further labels of the training images, such as labels_worst
ROW_SPLIT = "test set held out by SHA-256 of the row number"


def npz_source(path: pathlib.Path) -> Source:
    """Find a data set in an .npz with arrays under one of `NPZ_KEYS`, and the optional arrays of `OPTIONAL`.

    By default the id of an example is its row. Without test arrays, a fifth of the rows is held out
    (`validate.held_out`), and the ids of the training examples have gaps.
    """
    return Source(path.stem, {"kind": "npz", "sha256": sha256(path)}, lambda work=None: _read_npz(path))


def npz_keys(path: pathlib.Path, headers: Mapping[str, Header]) -> tuple[str, ...]:
    """The entry of NPZ_KEYS that a file uses, after a check of shapes and dtypes.

    Raises:
      ValueError: the file has other names, or arrays that cannot be images and labels.
    """
    keys = next((keys for keys in NPZ_KEYS if keys[0] in headers and keys[1] in headers), None)
    if keys is None:
        wanted = "; ".join(" + ".join(keys[:2]) for keys in NPZ_KEYS)
        raise ValueError(f"{path} holds {sorted(headers)}; it needs {wanted} (and the test arrays if there are any)")
    images, labels = headers[keys[0]], headers[keys[1]]
    if labels.shape[:1] != images.shape[:1] or not images.shape[:1]:
        raise ValueError(f"{path}: {keys[1]} has shape {labels.shape} beside {keys[0]} {images.shape}")
    check_layout(images.shape, images.dtype, f"{path.stem} images")
    check_labels(labels.shape, labels.dtype, images.shape[0], f"{path.stem} labels")
    return keys


def class_names(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> list[str] | None:
    """The names of the classes, if the file has them.

    Raises:
      ValueError: they are not one row of names.
    """
    names = arrays.get("class_names")
    if names is None:
        return None
    if names.ndim != 1:
        raise ValueError(f"{path}: class_names must be [k], a name for each class; got shape {names.shape}")
    return (np.char.decode(names, "utf-8") if names.dtype.kind == "S" else names.astype(str)).tolist()


def _read_npz(path: pathlib.Path) -> Dataset:
    headers = npz_headers(path)
    keys = npz_keys(path, headers)
    count = headers[keys[0]].shape[0]
    if (keys[2] in headers) != (keys[3] in headers):
        raise ValueError(f"{path} holds only one of {keys[2]} and {keys[3]}")
    if keys[2] in headers:
        tests = headers[keys[2]], headers[keys[3]]
        check_layout(tests[0].shape, tests[0].dtype, f"{path.stem} test images")
        check_labels(tests[1].shape, tests[1].dtype, tests[0].shape[0], f"{path.stem} test labels")
    if "ids" in headers and headers["ids"].shape != (count,):
        raise ValueError(f"{path}: ids has shape {headers['ids'].shape}, but there are {count} images")
    for key in ("name", "canonical"):
        if key in headers and headers[key].shape:
            raise ValueError(f"{path}: {key} is one value, and not an array of shape {headers[key].shape}")
    others = [key for key in headers if key.startswith(OTHER)]
    for key in others:
        check_labels(headers[key].shape, headers[key].dtype, count, f"{path.stem} {key}")
    arrays = read_npz(path, {*keys, *OPTIONAL, *others})
    images, labels = arrays[keys[0]], arrays[keys[1]]
    ids = arrays.get("ids", np.arange(count))
    rows = np.array([f"row_{i}" for i in range(count)])
    extra = {key.removeprefix(OTHER): arrays[key] for key in others}
    test = [arrays.get(key) for key in keys[2:]]
    split = "test set in its own arrays"
    if test[0] is None:
        is_test, split = held_out(rows), ROW_SPLIT
        if not is_test.any() or is_test.all():
            raise ValueError(f"{path}: {count} rows are too few to hold out a test set; add {keys[2]}, {keys[3]}")
        test = [images[is_test], labels[is_test]]
        images, labels, ids, rows = (a[~is_test] for a in (images, labels, ids, rows))
        extra = {name: vector[~is_test] for name, vector in extra.items()}
    return assemble(
        str(arrays.get("name", path.stem)),
        images=images,
        labels=labels,
        test_images=test[0],
        test_labels=test[1],
        class_names=class_names(path, arrays),
        ids=ids,
        keys=rows,
        extra_labels=extra,
        canonical=bool(arrays.get("canonical", True)),
        provenance={"source": f"file {path}", "decoder": "none: arrays", "split": split},
    )


def write_npz(dataset: Dataset, path: pathlib.Path) -> None:
    """Write a data set to a file that `load` reads back with the same name, arrays, ids and other labels.

    Args:
      dataset: the data set.
      path: the file, whose name ends in .npz.

    Example:
      >>> import tempfile
      >>> from ddjax.data import load, synthetic
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.npz"
      >>> write_npz(synthetic(3), path)
      >>> load(path).name == synthetic(3).name
      True
    """
    arrays = {
        "name": np.array(dataset.name),
        "canonical": np.array(dataset.canonical),
        "images": dataset.images,
        "labels": dataset.labels,
        "ids": dataset.ids,
        "test_images": dataset.test_images,
        "test_labels": dataset.test_labels,
        "class_names": np.array(dataset.class_names),
    }
    with replacing(path) as file:
        np.savez(file, **arrays, **{OTHER + name: labels for name, labels in dataset.extra_labels.items()})
