"""Decoded data sets on disk: read once, then memory-mapped, so neither TensorFlow nor a decoder is needed again."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import secrets
import shutil
import tempfile
import warnings

import numpy as np

from ddjax.data.dataset import Dataset
from ddjax.data.source import Source
from ddjax.storage.files import sha256

FORMAT = 2  # of the files below, and of how images are decoded; another number is another cache entry
MANIFEST = "manifest.json"


class DamagedCache(Exception):
    """A cache entry that is not what was written."""


def place(source: Source, root: pathlib.Path) -> pathlib.Path:
    """The folder of this source's arrays below the cache directory `root`, whether it exists or not."""
    identity = json.dumps([FORMAT, source.name, source.identity], sort_keys=True)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", source.name)
    return root / "datasets" / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def fetch(source: Source, root: pathlib.Path, *, verify: bool = False) -> Dataset:
    """The data set of `source`, from the cache or else read and stored there; its arrays are memory-mapped.

    A damaged entry is named in a warning and made again. Opening compares file sizes; `verify` compares SHA-256 too.
    Where the cache cannot be written, a warning says so and the arrays stay in memory.
    """
    folder = place(source, root)
    if folder.exists():
        try:
            return load(folder, verify=verify)
        except DamagedCache as error:
            warnings.warn(f"damaged cache {folder} is made again: {error}", stacklevel=3)
            _discard(folder)
    dataset = source.read()
    try:
        store(dataset, folder)
        return load(folder)
    except (OSError, DamagedCache) as error:
        remark = f"{dataset.name} is not cached and stays in memory; writing into {folder.parent} failed: {error}"
        warnings.warn(remark, stacklevel=3)
        return dataset


def _discard(folder: pathlib.Path) -> None:
    """Take an entry out of everybody's sight, then remove it; processes that mapped its files keep them."""
    with (
        contextlib.suppress(OSError),  # what cannot be moved, or has gone, is met again when storing
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.old.") as aside,
    ):
        os.rename(folder, pathlib.Path(aside) / "entry")


def _arrays(dataset: Dataset) -> dict[str, np.ndarray]:
    names = ["images", "labels", "ids", "test_images", "test_labels", *(["keys"] if dataset.keys is not None else [])]
    extra = {f"extra_labels.{name}": labels for name, labels in dataset.extra_labels.items()}
    return {**{name: getattr(dataset, name) for name in names}, **extra}


def store(dataset: Dataset, folder: pathlib.Path) -> None:
    """Write all arrays and a manifest into a folder aside, then rename it to `folder`; an entry already there stays."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    aside.mkdir()
    try:
        files = {}
        for name, array in _arrays(dataset).items():
            path = aside / f"{name}.npy"
            with open(path, "wb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            files[name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
        manifest = {
            **{name: getattr(dataset, name) for name in ("name", "class_names", "canonical", "provenance")},
            "files": files,
        }
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=1))
        try:
            os.rename(aside, folder)
        except OSError:
            if not (folder / MANIFEST).exists():  # else another process was faster, with the same arrays
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)  # it is gone if all went well


def load(folder: pathlib.Path, *, verify: bool = False) -> Dataset:
    """Open a stored data set with memory-mapped, read-only arrays; `DamagedCache` if anything is amiss."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        arrays = {name: _open(folder / f"{name}.npy", said, verify) for name, said in manifest.pop("files").items()}
        manifest["class_names"] = tuple(manifest["class_names"])
        extra = {n.removeprefix("extra_labels."): arrays.pop(n) for n in list(arrays) if n.startswith("extra_labels.")}
        fields = {field.name for field in dataclasses.fields(Dataset)}
        if unknown := {*manifest, *arrays} - fields:
            raise DamagedCache(f"unknown entries {sorted(unknown)}")
        return Dataset(**manifest, **arrays, extra_labels=extra)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise DamagedCache(f"{type(error).__name__}: {error}") from error


def _open(path: pathlib.Path, said: dict, verify: bool) -> np.ndarray:
    size = path.stat().st_size
    if size != said["bytes"]:
        raise DamagedCache(f"{path.name} has {size} bytes instead of {said['bytes']}")
    if verify and sha256(path) != said["sha256"]:
        raise DamagedCache(f"{path.name} differs from what was written (SHA-256)")
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
