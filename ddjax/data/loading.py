"""Load a data set by name or path."""

import os
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

from ddjax import checks, names
from ddjax.data import cache
from ddjax.data.dataset import Dataset
from ddjax.data.digits import digits
from ddjax.data.folder import folder_source
from ddjax.data.npz import npz_source
from ddjax.data.source import Source
from ddjax.data.tables import csv_source
from ddjax.data.tfds import prepared, tfds_source
from ddjax.data.tfds_known import ALIASES
from ddjax.data.tiny_imagenet import place_of, tiny_imagenet_source
from ddjax.names import few
from ddjax.ranges import Count, checked
from ddjax.storage import files

NAMES = ("digits", *ALIASES, "tiny_imagenet")
PATTERNS = ("tfds:NAME", "FOLDER/", "FILE.npz", "FILE.csv", "module:ATTRIBUTE")


@checked
def load(
    name: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None = None,
    cache_dir: str | os.PathLike | None = None,
    labels: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
    image_size: Count | None = None,
    strict: bool = False,
    download: bool = False,
    verify: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Load a data set by name or path, in canonical order. It is decoded once and memory-mapped afterwards.

    Warnings report files that were skipped, and identical images with different labels in a folder or .csv.

    Args:
      name: one of `NAMES`, read from data_dir/NAME.npz if there is such a file; `tfds:NAME[/CONFIG][:VERSION]` for any
        TFDS set with an image and a class label; a folder of images; an .npz (see `data.npz`) or .csv file; or
        `module:ATTRIBUTE`, a function without arguments that returns a `Dataset` and is called each time.
      data_dir: the directory of NAME.npz files and of TFDS (default `$TFDS_DATA_DIR`, or `~/tensorflow_datasets`).
      cache_dir: directory of the decoded arrays (default `$DDJAX_CACHE`, or `~/.cache/ddjax`).
      labels: the TFDS feature for `labels`; the other label features become `extra_labels`.
      train_split: a TFDS split, or a slice such as "train[:80%]".
      test_split: likewise.
      image_size: side to which the central square of every image is resized; without it all must have one size.
      strict: whether an unreadable image file is an error. Otherwise up to 1 % are skipped, with a warning.
      download: whether TFDS may download and prepare the set. Nothing is downloaded otherwise.
      verify: whether SHA-256 of the cached arrays is compared, or only their sizes.
      report: receives the numbers of files that are read, and of all files, while many of them are decoded for the
        first time. By default the progress is logged.

    Returns:
      The data set.

    Raises:
      FileNotFoundError: there are no such data; the message names the expected place.
      ValueError: the data cannot be read; for a folder the message lists all problems.

    Example:
      >>> dataset = load("digits")
      >>> dataset.images.shape, dataset.num_classes
      ((1442, 8, 8, 1), 10)
    """
    source = locate(
        name,
        data_dir=data_dir,
        labels=labels,
        train_split=train_split,
        test_split=test_split,
        image_size=image_size,
        strict=strict,
        download=download,
    )
    dataset = cache.fetch(source, _cache(cache_dir), verify=verify, report=report) if source.identity else source.read()
    checks.kind(dataset, Dataset, f"what {name!r} returns", "ddjax.data.assemble makes one")
    for remark in remarks(dataset):
        warnings.warn(remark, stacklevel=3)  # skips the wrapper of `checked`
    return dataset


@checked
def locate(
    name: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None = None,
    labels: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
    image_size: Count | None = None,
    strict: bool = False,
    download: bool = False,
) -> Source:
    """Find a data set without reading it. Arguments and errors are those of `load`."""
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
        raise ValueError(f"name must be one of {', '.join((*NAMES, *PATTERNS))}; got {name!r}")
    shown = os.fspath(name)
    root = files.data_dir() if data_dir is None else files.expanded(data_dir)
    options = {"labels": labels, "train_split": train_split, "test_split": test_split}
    there = root / f"{shown}.npz"
    given = {"labels": labels is not None, "train_split": train_split != "train", "test_split": test_split != "test"}
    if shown in NAMES and there.is_file():
        shown = str(there)
    if shown in ALIASES or shown.startswith("tfds:"):
        full_name, feature = ALIASES.get(shown, (shown.removeprefix("tfds:"), "label"))
        options["labels"] = labels or feature
        plain = full_name.partition(":")[0]
        shown = plain if shown not in ALIASES and plain in NAMES else shown  # noise and constants are known by name
        return tfds_source(full_name, shown, root, **options, image_size=image_size, download=download)
    _refuse(shown, {**given, "download": download}, "is for TFDS sets")
    if shown == "digits" or shown == "tiny_imagenet" or shown.endswith(".npz"):
        _refuse(shown, {"image_size": image_size is not None}, "is for sets of image files")
    if shown == "digits":
        return Source("digits", {}, digits)
    if shown == "tiny_imagenet":
        return tiny_imagenet_source(root, strict=strict)
    return _at(shown, image_size, strict)


def cache_place(source: Source, cache_dir: str | os.PathLike | None = None) -> pathlib.Path | None:
    """The folder in which `load` caches the arrays of a source; None if they are not cached."""
    return cache.place(source, _cache(cache_dir)) if source.identity else None


def whereabouts(name: str, root: pathlib.Path) -> str | None:
    """The place of a known data set below the TFDS directory `root`, or None. No file is read."""
    if name == "digits":
        return "comes with scikit-learn"
    if (file := root / f"{name}.npz").is_file():
        return str(file)
    place = place_of(files.manual_dir(root)) if name == "tiny_imagenet" else prepared(ALIASES[name][0], root)
    return place and str(place)


def remarks(dataset: Dataset) -> list[str]:
    """Warnings about an incomplete or inconsistent data set."""
    skipped = dataset.provenance.get("skipped") or []
    twice = dataset.provenance.get("conflicts") or []
    partial = dataset.provenance.get("partial")
    messages = [partial] if partial else []
    if skipped:
        messages.append(f"{dataset.name} skips {len(skipped)} unreadable files: {few(skipped, between='; ')}")
    if twice:
        messages.append(
            f"{dataset.name} contains identical images with different labels ({len(twice)}): {few(twice, between='; ')}"
        )
    return messages


def _cache(cache_dir: str | os.PathLike | None) -> pathlib.Path:
    return files.cache_dir() if cache_dir is None else files.expanded(cache_dir)


def _refuse(name: str, given: dict[str, Any], why: str) -> None:
    for argument, is_given in given.items():
        if is_given:
            raise ValueError(f"{argument}= {why} and does not apply to {name!r}")


def _at(shown: str, image_size: int | None, strict: bool) -> Source:
    path = files.expanded(shown)
    if path.is_dir():
        return folder_source(path, image_size=image_size, strict=strict)
    if path.suffix in (".npz", ".csv"):
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path} (looked from {pathlib.Path.cwd()})")
        return npz_source(path) if path.suffix == ".npz" else csv_source(path, image_size=image_size, strict=strict)
    if os.sep in shown or path.exists():
        if path.exists():
            raise ValueError(f"{path} is neither a folder of images nor an .npz or .csv file")
        raise FileNotFoundError(f"there is no folder or file {path} (looked from {pathlib.Path.cwd()})")
    if ":" in shown:
        _refuse(shown, {"image_size": image_size is not None}, "is for sets of image files")
        return Source(shown, {}, names.choose({}, shown, "data set", Callable))
    raise names.unknown("data set", shown, [*NAMES, *PATTERNS])
