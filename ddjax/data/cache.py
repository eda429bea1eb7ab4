"""Decoded data sets on disk: each is decoded once and memory-mapped afterwards, without TensorFlow or a decoder."""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import re
import tempfile
import time
import warnings
from collections.abc import Callable

import numpy as np

from ddjax.data.dataset import Dataset
from ddjax.data.source import Source, Work
from ddjax.storage import manifest
from ddjax.storage.files import remove, replacing_folder
from ddjax.storage.locks import alone

KIND = manifest.Kind("ddjax-dataset", 3, "a cached data set")  # the schema also counts changes of the decoding
MANIFEST = "manifest.json"
EVERY = 5.0  # seconds between lines about the progress

log = logging.getLogger("ddjax.data")


def place(source: Source, root: pathlib.Path) -> pathlib.Path:
    """The folder for the arrays of `source` below the cache directory `root`. It may not exist yet."""
    identity = json.dumps([KIND.schema, source.name, source.identity], sort_keys=True)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", source.name)
    return root / "datasets" / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def fetch(
    source: Source, root: pathlib.Path, *, verify: bool = False, report: Callable[[int, int], None] | None = None
) -> Dataset:
    """Open the cached data set of `source`, or read the source and store it in the cache.

    A damaged entry is named in a warning and written again. If the cache cannot be written, a warning says so and the
    arrays stay in memory.

    Args:
      source: the data set.
      root: the cache directory. Large sets are read in its folder `reading`; what an interrupted call left there is
        used.
      verify: whether SHA-256 is compared, and not only file sizes.
      report: receives the numbers of files that are read, and of all files; by default they are logged.

    Returns:
      The data set.

    Raises:
      OSError: there is too little space to read a large set.
      ValueError: the source cannot be read.
    """
    folder = place(source, root)
    if stored := _intact(folder, verify):
        return stored
    work = Work(root / "reading" / folder.name, report or _Logged(source.name))
    with contextlib.ExitStack() as turn:
        try:
            turn.enter_context(alone(work.folder.with_name(f"{folder.name}.lock"), f"reading {source.name}", wait=True))
        except OSError:  # `store` says that the cache cannot be written
            work = None
        if stored := _intact(folder, verify):  # another process has stored it meanwhile
            return stored
        try:
            dataset = source.read(work)
        except ValueError:  # an interrupted reading is continued, but not that of files which have to change
            if work:
                remove(work.folder)
            raise
        try:
            store(dataset, folder)
            dataset = load(folder, verify=verify)
        except (OSError, ValueError) as error:
            remark = f"{dataset.name} is not cached and stays in memory; writing into {folder.parent} failed: {error}"
            warnings.warn(remark, stacklevel=3)
        if work:
            remove(work.folder)  # arrays that are mapped from there stay
        return dataset


class _Logged:
    """A report that logs a line from time to time."""

    def __init__(self, name: str):
        """Start to measure the time."""
        self.name, self.start, self.spoke = name, time.monotonic(), time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Log the numbers and the remaining time, unless the last line is recent."""
        now = time.monotonic()
        if now - self.spoke > EVERY:
            self.spoke, left = now, (now - self.start) / max(done, 1) * (total - done)
            log.info("reading %s: %d of %d files, %.0f s left", self.name, done, total, left)


def _intact(folder: pathlib.Path, verify: bool) -> Dataset | None:
    """The stored data set, if there is one. A damaged entry is renamed, then removed, so mapped files remain."""
    if not folder.exists():
        return None
    try:
        return load(folder, verify=verify)
    except ValueError as error:
        warnings.warn(f"damaged cache {folder} is made again: {error}", stacklevel=4)
    with (
        contextlib.suppress(OSError),  # an entry that cannot be renamed stays, and the data set is not cached
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.old.") as aside,
    ):
        os.rename(folder, pathlib.Path(aside) / "entry")
    return None


def _arrays(dataset: Dataset) -> dict[str, np.ndarray]:
    names = ["images", "labels", "ids", "test_images", "test_labels", *(["keys"] if dataset.keys is not None else [])]
    extra = {f"extra_labels.{name}": labels for name, labels in dataset.extra_labels.items()}
    return {**{name: getattr(dataset, name) for name in names}, **extra}


def store(dataset: Dataset, folder: pathlib.Path) -> None:
    """Write all arrays and a manifest to `folder`. An entry that another process has stored there is kept."""
    with replacing_folder(folder, keep=True) as aside:
        files = {name: aside / f"{name}.npy" for name in _arrays(dataset)}
        for name, array in _arrays(dataset).items():
            np.save(files[name], array, allow_pickle=False)
        fields = {name: getattr(dataset, name) for name in ("name", "class_names", "canonical", "provenance")}
        manifest.write(aside / MANIFEST, KIND, fields, files)


def load(folder: pathlib.Path, *, verify: bool = False) -> Dataset:
    """Open a stored data set with memory-mapped, read-only arrays.

    Raises:
      ValueError: a file is missing or damaged.
    """

    def locate(name: str) -> pathlib.Path:
        return folder / f"{name}.npy"

    meta = manifest.read(folder / MANIFEST, KIND, locate, verify=verify)
    arrays = {name: np.asarray(np.load(locate(name), mmap_mode="r", allow_pickle=False)) for name in meta["files"]}
    extra = {name: arrays.pop(name) for name in list(arrays) if name.startswith("extra_labels.")}
    fields = {field.name for field in dataclasses.fields(Dataset)}
    return Dataset(
        **{name: value for name, value in meta.items() if name in fields} | {"class_names": tuple(meta["class_names"])},
        **arrays,
        extra_labels={name.removeprefix("extra_labels."): labels for name, labels in extra.items()},
    )
