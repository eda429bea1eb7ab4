"""Tiny-ImageNet from the published folder or zip, without TensorFlow."""

import pathlib
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from ddjax.data.dataset import Dataset
from ddjax.data.images import DECODER, decode_files
from ddjax.data.source import Entry, Source, Work, listing_digest, walk
from ddjax.data.validate import assemble
from ddjax.decoding import reader
from ddjax.storage.files import manual_dir

NAME = "tiny-imagenet-200"
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TRAIN, TEST = 100_000, 10_000  # images of the complete set; the test set is the published validation set


class Listing(NamedTuple):
    """The published files, in canonical order: classes by sorted wnid, files of a class sorted as strings."""

    train: list[tuple[str, int]]  # (path inside the published folder, class)
    test: list[tuple[str, int]]
    wnids: list[str]  # sorted; the position is the class number
    wnids_file: list[str]  # in the order of wnids.txt, which is the other numbering in use
    read: Callable[[str], bytes]

    @property
    def complete(self) -> bool:
        """Whether all published images are present."""
        return len(self.train) == TRAIN and len(self.test) == TEST


def place_of(manual: pathlib.Path) -> pathlib.Path | None:
    """The published `tiny-imagenet-200/` in a TFDS manual folder, or else its zip, or None."""
    folder, archive = manual / NAME, manual / f"{NAME}.zip"
    return folder if folder.is_dir() else archive if archive.is_file() else None


def find(manual: pathlib.Path) -> tuple[pathlib.Path, dict[str, Any]]:
    """The published files in a TFDS manual folder, and the identity of their state.

    Raises:
      FileNotFoundError: there are no files; the message says where they must be.
      ValueError: a link in the folder leads to a folder that contains the link.
    """
    place = place_of(manual)
    if place is None:
        raise FileNotFoundError(
            f"tiny_imagenet is in neither {manual / NAME}/ nor {manual / NAME}.zip: put the published archive there "
            f"({URL}; MD5 of its wnids.txt 6c81990e2d7ae3bd3c88dceb97b46342), or give data_dir="
        )
    kind, entries = ("folder", _files(place)) if place.is_dir() else ("zip", [(NAME, place.stat())])
    return place, {"kind": kind, "path": str(place.resolve()), "files": listing_digest(entries)}


def _files(folder: pathlib.Path) -> list[Entry]:
    images = [e for part in ("train", "val") if (folder / part).is_dir() for e in walk(folder / part, f"{part}/")]
    wnids = folder / "wnids.txt"
    return [*images, *([(wnids.name, wnids.stat())] if wnids.is_file() else [])]


def listing(place: pathlib.Path) -> Listing:
    """List the files in the published folder or zip.

    Raises:
      FileNotFoundError: it lacks a file.
      ValueError: it is damaged, or its files do not belong together.
    """
    if place.is_dir():
        return _order([name for name, _ in _files(place)], reader(place), place)
    try:
        archive = zipfile.ZipFile(place)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{place} is damaged, fetch it again: {error}") from error
    names = [name.removeprefix(f"{NAME}/") for name in archive.namelist()]
    return _order(names, lambda name: archive.read(f"{NAME}/{name}"), place)


def _order(files: list[str], read: Callable[[str], bytes], place: pathlib.Path) -> Listing:
    try:
        wnids_file = read("wnids.txt").decode().split()
        annotations = read("val/val_annotations.txt").decode().splitlines()
    except (OSError, KeyError) as error:
        raise FileNotFoundError(f"{place} is not the published {NAME}: {error}") from error
    wnids = sorted(wnids_file)
    number = {wnid: c for c, wnid in enumerate(wnids)}
    images = [name.split("/") for name in files if name.endswith(".JPEG")]
    in_train = sorted(parts for parts in images if parts[0] == "train" and len(parts) == 4)
    there = {parts[2] for parts in images if parts[:2] == ["val", "images"] and len(parts) == 3}
    in_test = sorted((wnid, name) for name, wnid, *_ in (a.split("\t") for a in annotations) if name in there)
    strangers = {parts[1] for parts in in_train} | {wnid for wnid, _ in in_test}
    if strangers - set(wnids):
        raise ValueError(f"{place} has classes that its wnids.txt does not list: {sorted(strangers - set(wnids))[:5]}")
    if not in_train or not in_test:
        raise ValueError(f"{place} holds {len(in_train)} training and {len(in_test)} annotated validation images")
    train = [("/".join(parts), number[parts[1]]) for parts in in_train]
    test = [(f"val/images/{name}", number[wnid]) for wnid, name in in_test]
    return Listing(train, test, wnids, wnids_file, read)


def tiny_imagenet_source(data_dir: pathlib.Path, *, strict: bool) -> Source:
    """Find Tiny-ImageNet. Images are decoded by Pillow; 1821 grey training images become three equal channels.

    The id of an example is its position in `Listing.train`. In a partial copy the position is that in the partial list,
    and the data set is not `canonical`. Classes are numbered by sorted wnid; see `published_numbering` for the other
    numbering.
    """
    place, identity = find(manual_dir(data_dir))
    return Source("tiny_imagenet", {**identity, "strict": strict}, lambda work=None: _read(place, strict, work))


def partial_warning(train: int, test: int) -> str:
    """The warning for an incomplete copy."""
    return (
        f"partial copy of tiny_imagenet: {train} of {TRAIN} training and {test} of {TEST} validation images; "
        "ids count the present files, and published noise vectors do not apply"
    )


def _read(place: pathlib.Path, strict: bool, work: Work | None) -> Dataset:
    published = listing(place)
    files = [*published.train, *published.test]
    read = place if place.is_dir() else published.read
    decoded = decode_files([name for name, _ in files], read, strict=strict, grey=False, work=work)
    labels = np.array([c for _, c in files])
    split = len(published.train)
    ids = np.flatnonzero(decoded.kept[:split])
    return assemble(
        "tiny_imagenet",
        images=decoded.images[: len(ids)],
        labels=labels[ids],
        ids=ids,
        keys=[published.train[i][0] for i in ids],
        test_images=decoded.images[len(ids) :],
        test_labels=labels[split:][decoded.kept[split:]],
        class_names=published.wnids,
        canonical=published.complete and not decoded.skipped,
        provenance={
            "source": f"{NAME} as published: {place}",
            "decoder": DECODER,
            "split": "test set = published validation set",
            "skipped": decoded.skipped,
            "partial": None if published.complete else partial_warning(len(published.train), len(published.test)),
            "wnids_file": published.wnids_file,
        },
    )


def published_numbering(dataset: Dataset) -> Int[np.ndarray, "k"]:
    """For each class, its line in `wnids.txt`, which is the numbering of the TFDS-based reference code.

    `published_numbering(tiny)[labels]` renumbers labels, and its argsort is the inverse.

    Raises:
      ValueError: `dataset` is not Tiny-ImageNet.
    """
    if "wnids_file" not in dataset.provenance:
        raise ValueError(f"{dataset.name} carries no wnids.txt; load it by the name tiny_imagenet")
    line = {wnid: i for i, wnid in enumerate(dataset.provenance["wnids_file"])}
    return np.array([line[wnid] for wnid in dataset.class_names], np.int32)
