"""Data sets from a folder of images with one subfolder per class."""

import os
import pathlib
import warnings
from typing import NamedTuple

import numpy as np

from ddjax.data.dataset import Dataset
from ddjax.data.identical import labelled_twice
from ddjax.data.images import DECODER, EXTENSIONS, decode_files, differing_sizes
from ddjax.data.mapped import taken
from ddjax.data.source import Source, Work, is_hidden, leads_back, listing_digest, walk
from ddjax.data.validate import assemble, held_out, small_classes
from ddjax.decoding import reader
from ddjax.names import few

TRAIN = ("train", "training")
TEST = ("test", "val", "validation", "valid")


class File(NamedTuple):
    """One image file."""

    path: str  # relative to the folder, with forward slashes
    label: str
    status: os.stat_result


def folder_source(root: pathlib.Path, *, image_size: int | None, strict: bool) -> Source:
    """Find a data set in `root/train/CLASS/*` and `root/test/CLASS/*`, or in `root/CLASS/*`.

    Without a test folder, a fifth of the images is held out, chosen by a hash of each relative path
    (`validate.held_out`). Classes are numbered by sorted folder name. Files are sorted by class, then by path as a
    string. The id of an example is its position in that order. Held-out and damaged files count too, so ids do not
    depend on them.

    Raises:
      ValueError: the message lists all problems of the folder.
    """
    train, test = listings(root, image_size)
    identity = {
        "kind": "folder",
        "path": str(root.resolve()),
        "files": listing_digest((f.path, f.status) for f in [*train, *(test or [])]),
        "image_size": image_size,
        "strict": strict,
    }
    return Source(root.name or "folder", identity, lambda work=None: _read(root, train, test, image_size, strict, work))


def listings(root: pathlib.Path, image_size: int | None, least: int = 1) -> tuple[list[File], list[File] | None]:
    """List the training files and the test files.

    Raises:
      ValueError: the message lists all problems of the folder. Sizes are compared here only if there are other
        problems, because that reads every file; otherwise `decode_files` compares them.
    """
    train_root, test_root = parts(root)
    others = [f.name for f in _folders(root) if f.name.lower() in TRAIN + TEST and f not in (train_root, test_root)]
    if train_root != root and others:
        read = " and ".join(part.name for part in (train_root, test_root) if part)
        warnings.warn(f"{root}: only {read} are read, and not {_quoted(sorted(others))}", stacklevel=3)
    problems: list[str] = []
    train = _listing(root, train_root, problems)
    test = _listing(root, test_root, problems) if test_root else None
    files = [*train, *(test or [])]
    if not train and not problems:
        problems.append(
            f"{train_root} holds no class folders; images lie in PATH/CLASS/*, or in PATH/train/CLASS/* and "
            "PATH/test/CLASS/*"
        )
    if strangers := sorted({f.label for f in test or []} - {f.label for f in train}):
        problems.append(
            f"class folders of {test_root} that {train_root} lacks: {_quoted(strangers)}; add or remove them"
        )
    if odd := [f.path for f in files if not _is_text(f.path)]:
        problems.append(f"names that are not UTF-8: {_quoted(odd)}; rename them")
    names, numbers = np.unique([f.label for f in files], return_inverse=True)
    if files and (problem := small_classes(numbers, names.tolist(), least)):
        problems.append(problem)
    if problems and image_size is None and (problem := differing_sizes([f.path for f in files], reader(root))):
        problems.append(problem)
    if problems:
        raise ValueError("\n- ".join([f"{root} cannot be read as it is:", *problems]))
    return train, test


def parts(root: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path | None]:
    """The folders that hold the class folders of the training set and of the test set, if there is one."""
    named = {folder.name.lower(): folder for folder in sorted(_folders(root))}
    train_root = next((named[name] for name in TRAIN if name in named), root)
    return train_root, next((named[name] for name in TEST if name in named), None) if train_root != root else None


def _folders(root: pathlib.Path) -> list[pathlib.Path]:
    return [folder for folder in root.iterdir() if folder.is_dir() and not is_hidden(folder.name)]


def _quoted(names: list[str]) -> str:
    return few([repr(name) for name in names])


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _listing(root: pathlib.Path, part: pathlib.Path, problems: list[str]) -> list[File]:
    """The images in the class folders of `part`, sorted by class and path. Problems are appended to `problems`."""
    prefix = "" if part == root else f"{part.name}/"
    files, classes = [], set()
    for path, status in walk(part, prefix, problems):
        label, _, inner = path.removeprefix(prefix).partition("/")
        if inner and path.lower().endswith(EXTENSIONS):
            files.append(File(path, label, status))
            classes.add(label)
    within = (os.path.realpath(part),)
    folders = [folder.name for folder in _folders(part) if not leads_back(folder, within)]
    if empty := sorted(set(folders) - classes):
        extensions = " ".join(EXTENSIONS)
        problems.append(
            f"class folders of {part} without an image ({extensions}): {_quoted(empty)}; fill or remove them"
        )
    return sorted(files, key=lambda file: (file.label, file.path))


def _read(
    root: pathlib.Path,
    train: list[File],
    test: list[File] | None,
    image_size: int | None,
    strict: bool,
    work: Work | None,
) -> Dataset:
    files = [*train, *(test or [])]
    if test is None:
        is_test = held_out([f.path for f in files])
        split = "test set held out by SHA-256 of the relative path"
    else:
        is_test = np.arange(len(files)) >= len(train)
        split = "test set in its own folder"
    decoded = decode_files([f.path for f in files], root, image_size=image_size, strict=strict, work=work)
    class_names = sorted({f.label for f in train})
    number = {name: c for c, name in enumerate(class_names)}
    labels = np.array([number[f.label] for f in files])[decoded.kept]
    ids = np.arange(len(files))[decoded.kept]
    is_test = is_test[decoded.kept]
    if not is_test.any() or is_test.all():
        raise ValueError(f"{root}: {len(ids)} images are too few to hold out a test set; add {root}/test/CLASS/*")
    return assemble(
        root.name or "folder",
        images=taken(decoded.images, ~is_test),
        labels=labels[~is_test],
        ids=ids[~is_test],
        keys=[files[i].path for i in ids[~is_test]],
        test_images=taken(decoded.images, is_test),
        test_labels=labels[is_test],
        class_names=class_names,
        canonical=not decoded.skipped,
        provenance={
            "source": f"image folder {root}",
            "decoder": DECODER,
            "split": split,
            "skipped": decoded.skipped,
            "conflicts": labelled_twice(decoded, [f.path for f in files], [f.label for f in files]),
            "image_size": image_size,
        },
    )
