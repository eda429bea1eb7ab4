"""Data sets in one file: arrays in an .npz, or a .csv that lists image files and their labels."""

import csv
import pathlib

import numpy as np

from ddjax.data.dataset import Dataset
from ddjax.data.images import DECODER, decode_files
from ddjax.data.source import Source, listing_digest
from ddjax.data.validate import assemble, held_out
from ddjax.files import read_npz, sha256

# training images, training labels, test images, test labels; the last two may be absent together
NPZ_KEYS = (
    ("images", "labels", "test_images", "test_labels"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
)
PATH_COLUMNS = ("path", "image", "file")
ROW_SPLIT = "test set held out by SHA-256 of the row number"


def npz_source(path: pathlib.Path) -> Source:
    """Arrays under one of `NPZ_KEYS`, with optional `ids` and `class_names`. The id of an example is its row.

    Without test arrays a fifth of the rows is held out (`validate.held_out`), and the ids of the rest keep their gaps.
    """
    return Source(path.stem, {"kind": "npz", "sha256": sha256(path)}, lambda: _read_npz(path))


def npz_keys(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Under which of NPZ_KEYS the images and labels of a file are."""
    keys = next((keys for keys in NPZ_KEYS if keys[0] in arrays and keys[1] in arrays), None)
    if keys is None:
        wanted = "; ".join(" + ".join(keys[:2]) for keys in NPZ_KEYS)
        raise ValueError(f"{path} holds {sorted(arrays)}; it needs {wanted} (and the test arrays if there are any)")
    images, labels = arrays[keys[0]], arrays[keys[1]]
    if labels.shape[:1] != images.shape[:1] or not images.shape[:1]:
        raise ValueError(f"{path}: {keys[1]} has shape {labels.shape} beside {keys[0]} {images.shape}")
    return keys


def _read_npz(path: pathlib.Path) -> Dataset:
    arrays = read_npz(path)
    keys = npz_keys(path, arrays)
    images, labels = arrays[keys[0]], arrays[keys[1]]
    ids = arrays.get("ids", np.arange(len(images)))
    rows = np.array([f"row_{i}" for i in range(len(images))])
    test = [arrays.get(key) for key in keys[2:]]
    if (test[0] is None) != (test[1] is None):
        raise ValueError(f"{path} holds only one of {keys[2]} and {keys[3]}")
    split = "test set in its own arrays"
    if test[0] is None:
        if ids.shape != (len(images),):
            raise ValueError(f"{path}: ids has shape {ids.shape}, but there are {len(images)} images")
        is_test, split = held_out(rows), ROW_SPLIT
        if not is_test.any() or is_test.all():
            raise ValueError(f"{path}: {len(images)} rows are too few to hold a test set out; add {keys[2]}, {keys[3]}")
        test = [images[is_test], labels[is_test]]
        images, labels, ids, rows = (a[~is_test] for a in (images, labels, ids, rows))
    return assemble(
        path.stem,
        images=images,
        labels=labels,
        test_images=test[0],
        test_labels=test[1],
        class_names=arrays["class_names"].astype(str).tolist() if "class_names" in arrays else None,
        ids=ids,
        keys=rows,
        canonical=True,
        provenance={"source": f"file {path}", "decoder": "none: arrays", "split": split},
    )


def csv_source(path: pathlib.Path, *, image_size: int | None, strict: bool) -> Source:
    """Columns path (or image, or file) and label, optionally split (train or test); paths are relative to the file.

    Labels are integers if all of them are, else names numbered in sorted order. The id of an example is its row below
    the header, counted from 0; without a split column a fifth of the rows is held out (`validate.held_out`).
    """
    names, labels, splits = csv_rows(path)
    files = [path.parent / name for name in names]
    missing = [name for name, file in zip(names, files, strict=True) if not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{path} lists {len(missing)} files that are not there, such as {missing[:3]}; paths are relative to it"
        )
    identity = {
        "kind": "csv",
        "sha256": sha256(path),
        "files": listing_digest((name, file.stat()) for name, file in zip(names, files, strict=True)),
        "image_size": image_size,
        "strict": strict,
    }
    return Source(path.stem, identity, lambda: _read_csv(path, names, labels, splits, image_size, strict))


def csv_rows(path: pathlib.Path) -> tuple[list[str], list[str], list[str] | None]:
    """The columns path, label and (where there is one) split, none of them empty anywhere."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        columns = [c.strip() for c in reader.fieldnames or []]
        reader.fieldnames = columns
        column = next((c for c in PATH_COLUMNS if c in columns), None)
        if column is None or "label" not in columns:
            raise ValueError(
                f"{path} has columns {columns}; it needs a header with {' or '.join(PATH_COLUMNS)}, and label"
            )
        rows = list(reader)
    if not rows:
        raise ValueError(f"{path} has a header and no rows")
    wanted = [column, "label", *(["split"] if "split" in columns else [])]
    for i, row in enumerate(rows):
        for key in wanted:
            row[key] = (row[key] or "").strip()
            if not row[key]:
                raise ValueError(f"{path}, row {i} below the header: {key} is empty")
        if "split" in columns and row["split"] not in ("train", "test"):
            raise ValueError(f"{path}, row {i} below the header: split is {row['split']!r}, not train or test")
    splits = [row["split"] for row in rows] if "split" in columns else None
    return [row[column] for row in rows], [row["label"] for row in rows], splits


def class_numbers(labels: list[str], path: pathlib.Path) -> tuple[np.ndarray, list[str] | None]:
    """Class numbers, and the names behind them where labels are not numbers already."""
    try:
        return np.array([int(label) for label in labels]), None
    except ValueError:
        pass
    try:
        floats = [float(label) for label in labels]
    except ValueError:
        names, numbers = np.unique(labels, return_inverse=True)
        return numbers, names.tolist()
    raise ValueError(f"{path}: labels such as {floats[0]} are not whole numbers; write 0, 1, ... or names")


def _read_csv(
    path: pathlib.Path,
    names: list[str],
    labels: list[str],
    splits: list[str] | None,
    image_size: int | None,
    strict: bool,
) -> Dataset:
    numbers, class_names = class_numbers(labels, path)
    is_test = held_out([f"row_{i}" for i in range(len(names))]) if splits is None else np.array(splits) == "test"
    if not is_test.any() or is_test.all():
        raise ValueError(
            f"{path}: of {len(names)} rows, {is_test.sum()} are in the test set; add rows, or a column split with both "
            "train and test"
        )
    decoded = decode_files(names, lambda name: (path.parent / name).read_bytes(), image_size=image_size, strict=strict)
    ids = np.arange(len(names))[decoded.kept]
    numbers, is_test = numbers[decoded.kept], is_test[decoded.kept]
    return assemble(
        path.stem,
        images=decoded.images[~is_test],
        labels=numbers[~is_test],
        ids=ids[~is_test],
        keys=[names[i] for i in ids[~is_test]],
        test_images=decoded.images[is_test],
        test_labels=numbers[is_test],
        class_names=class_names,
        canonical=not decoded.skipped,
        provenance={
            "source": f"file {path}",
            "decoder": DECODER,
            "split": ROW_SPLIT if splits is None else "test set by the split column",
            "skipped": decoded.skipped,
            "image_size": image_size,
        },
    )
