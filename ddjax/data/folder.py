"""A folder of images, one sub-folder per class."""

import os
import pathlib
from typing import NamedTuple

import numpy as np

from ddjax.data.dataset import Dataset
from ddjax.data.images import DECODER, EXTENSIONS, decode_files
from ddjax.data.source import Source, listing_digest, walk
from ddjax.data.validate import assemble, held_out

TRAIN = ("train", "training")
TEST = ("test", "val", "validation", "valid")


class File(NamedTuple):
    """One image of the listing."""

    path: str  # relative to the folder, with forward slashes
    label: str
    status: os.stat_result


def folder_source(root: pathlib.Path, *, image_size: int | None, strict: bool) -> Source:
    """`root/train/CLASS/*` with `root/test/CLASS/*`, or `root/CLASS/*` and a fifth held out as the test set.

    Classes are numbered by sorted folder name. Listings are sorted by class, then by path as a string; the id of an
    example is its position there, files held out or left out as damaged included, so that labels by id stay in place.
    The held-out fifth is chosen by a hash of each relative path (`validate.held_out`).
    """
    train, test = listings(root)
    identity = {
        "kind": "folder",
        "path": str(root.resolve()),
        "files": listing_digest((f.path, f.status) for f in [*train, *(test or [])]),
        "image_size": image_size,
        "strict": strict,
    }
    return Source(root.name or "folder", identity, lambda: _read(root, train, test, image_size, strict))


def listings(root: pathlib.Path) -> tuple[list[File], list[File] | None]:
    """The training files and the test files, None where the folder has no part for them."""
    parts = {d.name: d for d in _folders(root)}
    train_root = next((parts[name] for name in TRAIN if name in parts), root)
    test_root = next((parts[name] for name in TEST if name in parts), None) if train_root != root else None
    train = _listing(root, train_root)
    test = _listing(root, test_root) if test_root else None
    strangers = {f.label for f in test or []} - {f.label for f in train}
    if strangers:
        raise ValueError(f"{test_root} has class folders that {train_root} lacks: {sorted(strangers)[:5]}")
    return train, test


def _folders(root: pathlib.Path) -> list[pathlib.Path]:
    return sorted(d for d in root.iterdir() if d.is_dir() and not d.name.startswith((".", "__MACOSX")))


def _listing(root: pathlib.Path, part: pathlib.Path) -> list[File]:
    files = []
    for folder in _folders(part):
        inside = f"{folder.relative_to(root).as_posix()}/"
        images = [File(path, folder.name, s) for path, s in walk(folder, inside) if path.lower().endswith(EXTENSIONS)]
        if not images:
            raise ValueError(f"class folder {folder} holds no image ({' '.join(EXTENSIONS)}): fill it or remove it")
        files += sorted(images, key=lambda file: file.path)
    if not files:
        raise ValueError(
            f"{part} holds no class folders; images lie in PATH/CLASS/*, or in PATH/train/CLASS/* and PATH/test/CLASS/*"
        )
    return files


def _read(
    root: pathlib.Path, train: list[File], test: list[File] | None, image_size: int | None, strict: bool
) -> Dataset:
    files = [*train, *(test or [])]
    if test is None:
        is_test = held_out([f.path for f in files])
        split = "test set held out by SHA-256 of the relative path"
    else:
        is_test = np.arange(len(files)) >= len(train)
        split = "test set in its own folder"
    decoded = decode_files(
        [f.path for f in files], lambda name: (root / name).read_bytes(), image_size=image_size, strict=strict
    )
    class_names = sorted({f.label for f in train})
    number = {name: c for c, name in enumerate(class_names)}
    labels = np.array([number[f.label] for f in files])[decoded.kept]
    ids = np.arange(len(files))[decoded.kept]
    is_test = is_test[decoded.kept]
    if not is_test.any() or is_test.all():
        raise ValueError(f"{root}: {len(ids)} images are too few to hold a test set out; add {root}/test/CLASS/*")
    return assemble(
        root.name or "folder",
        images=decoded.images[~is_test],
        labels=labels[~is_test],
        ids=ids[~is_test],
        keys=[files[i].path for i in ids[~is_test]],
        test_images=decoded.images[is_test],
        test_labels=labels[is_test],
        class_names=class_names,
        canonical=not decoded.skipped,
        provenance={
            "source": f"image folder {root}",
            "decoder": DECODER,
            "split": split,
            "skipped": decoded.skipped,
            "image_size": image_size,
        },
    )
