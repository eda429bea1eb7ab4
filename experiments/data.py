"""Describe data sets, say where the files of a missing one must be, and write one to a single file.

Example: python -m experiments.data check cifar10

Example: python -m experiments.data check path/to/folder --image-size 32 --json

Example: python -m experiments.data list

Example: python -m experiments.data write cifar10 images/cifar10.npz
"""

import dataclasses
import json
import pathlib
import sys
import warnings
from typing import Annotated, Any

import numpy as np
import tyro

from ddjax import names
from ddjax.data import dataset, loading
from ddjax.data.npz import write_npz
from ddjax.data.tfds_known import ALIASES
from ddjax.noise import human
from ddjax.ranges import Count
from ddjax.storage import files
from experiments.display import cli
from experiments.display.progress import View


@dataclasses.dataclass(frozen=True)
class Check:
    """Load a data set and describe it. Exits with status 2 if it is missing or damaged.

    The first call decodes its images into the cache.
    """

    name: tyro.conf.Positional[str]  # a name from `list`, tfds:NAME, FOLDER/, FILE.npz or FILE.csv
    data_dir: pathlib.Path | None = None  # TFDS directory; default $TFDS_DATA_DIR or ~/tensorflow_datasets
    cache_dir: pathlib.Path | None = None  # directory of decoded images; default $DDJAX_CACHE or ~/.cache/ddjax
    labels: str | None = None  # TFDS feature that holds the labels
    train_split: str = "train"  # TFDS split, such as train[:80%]
    test_split: str = "test"  # TFDS split
    image_size: Count | None = None  # crop and resize every image to this side
    strict: bool = False  # fail on a damaged image file instead of leaving it out
    download: bool = False  # download and prepare missing files with TFDS
    verify: bool = False  # check the SHA-256 of the cached arrays
    json: bool = False  # print one JSON object

    def run(self) -> None:
        """Print the description.

        Raises:
          ValueError: the data set is missing or damaged.
        """
        options = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("name", "json", "cache_dir", "verify")
        }
        with warnings.catch_warnings(record=True) as caught, View().reading(self.name) as report:
            more = {"cache_dir": self.cache_dir, "verify": self.verify, "report": report}
            loaded = loading.load(self.name, **options, **more)
        for warning in caught:
            print(f"warning: {warning.message}", file=sys.stderr)
        place = loading.cache_place(loading.locate(self.name, **{**options, "download": False}), self.cache_dir)
        facts = describe(loaded, place)
        print(json.dumps(facts) if self.json else "\n".join(lines(facts)))


@dataclasses.dataclass(frozen=True)
class List:
    """List the known data sets and whether their files are present."""

    data_dir: pathlib.Path | None = None  # TFDS directory; default $TFDS_DATA_DIR or ~/tensorflow_datasets

    def run(self) -> None:
        """Print one line per data set."""
        root = files.expanded(self.data_dir or files.data_dir())
        for name in loading.NAMES:
            print(f"{name:16} {loading.whereabouts(name, root) or _missing(name, root)}")
        print(f"or {', '.join(loading.PATTERNS)}")


@dataclasses.dataclass(frozen=True)
class Write:
    """Write a data set to an .npz, for machines without TensorFlow: `--data-dir FOLDER` finds FOLDER/NAME.npz there."""

    name: tyro.conf.Positional[str]  # a name from `list`, tfds:NAME, FOLDER/ or FILE.csv
    file: tyro.conf.Positional[pathlib.Path]  # the .npz
    data_dir: pathlib.Path | None = None  # TFDS directory; default $TFDS_DATA_DIR or ~/tensorflow_datasets
    image_size: Count | None = None  # crop and resize every image to this side
    labels_file: pathlib.Path | None = None  # published human labels; by default those among the manual downloads

    def run(self) -> None:
        """Write the file, with the human labels of CIFAR-N if their file is there.

        Raises:
          ValueError: the data set is missing or damaged, or the file is its source or has another ending.
        """
        if self.file.suffix != ".npz":
            raise ValueError(f"file must end in .npz; got {self.file}")
        source = files.expanded(self.name)
        if self.name in loading.NAMES:
            source = files.expanded(self.data_dir or files.data_dir()) / f"{self.name}.npz"
        if self.file.exists() and source.exists() and source.samefile(self.file):
            raise ValueError(f"{self.name} is read from {source}, which cannot be written at once: name another file")
        loaded = loading.load(self.name, data_dir=self.data_dir, image_size=self.image_size)
        write_npz(dataclasses.replace(loaded, extra_labels={**loaded.extra_labels, **self._human(loaded)}), self.file)
        print("\n".join(lines(describe(loading.load(self.file), None))))

    def _human(self, data: dataset.Dataset) -> dict[str, np.ndarray]:
        """Human labels by the names of their noises."""
        if data.name not in human.FILES:
            if self.labels_file is not None:
                raise ValueError(f"--labels-file is only for {' and '.join(human.FILES)}; leave it out for {self.name}")
            return {}
        root = files.expanded(self.data_dir or files.data_dir())
        path = self.labels_file or files.manual_dir(root) / human.FILES[data.name]
        if not path.exists() and self.labels_file is None:
            return {}
        table = human.read_human(path, data.name)
        return {
            name: table[own.key][data.ids]
            for name, own in human.SETS.items()
            if own.dataset == data.name and own.num_classes == data.num_classes and own.key in table
        }


def _missing(name: str, root: pathlib.Path) -> str:
    if name == "tiny_imagenet":
        return f"not in {files.manual_dir(root)}"
    return f"not prepared in {root / ALIASES[name][0]}"


def describe(data: dataset.Dataset, place: pathlib.Path | None) -> dict[str, Any]:
    """The facts that `check` prints, for JSON."""
    return {
        "name": data.name,
        "train": list(data.images.shape),
        "test": list(data.test_images.shape),
        "ids": [int(data.ids[0]), int(data.ids[-1])],
        "canonical": data.canonical,
        "classes": list(data.class_names),
        "train_counts": np.bincount(data.labels, minlength=data.num_classes).tolist(),
        "test_counts": np.bincount(data.test_labels, minlength=data.num_classes).tolist(),
        "extra_labels": sorted(data.extra_labels),
        "cache": None if place is None else str(place),
        "provenance": dict(data.provenance),
    }


def _counts(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    if low == high:
        return f"{low} each"
    return ", ".join(map(str, counts)) if len(counts) <= 20 else f"{low} to {high} each"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 300 else f"{text[:300]} ..."


def lines(facts: dict[str, Any]) -> list[str]:
    """The facts of `describe` as lines of text."""
    classes = [names.shown(name) for name in facts["classes"]]
    shown = ", ".join(classes if len(classes) <= 20 else [*classes[:10], "...", classes[-1]])
    first, last = facts["ids"]
    whole = "whole published training set" if facts["canonical"] else "not the whole published training set"
    return [
        f"{facts['name']}: train {facts['train']}, test {facts['test']} (n h w c, uint8)",
        f"classes       {len(classes)}: {shown}",
        f"train counts  {_counts(facts['train_counts'])}",
        f"test counts   {_counts(facts['test_counts'])}",
        f"ids           {first} to {last}, {facts['train'][0]} of them; {whole}",
        *([f"other labels  {', '.join(facts['extra_labels'])}"] if facts["extra_labels"] else []),
        f"cache         {facts['cache'] or 'not needed'}",
        *(f"{key:13} {_short(value)}" for key, value in facts["provenance"].items() if value not in (None, [])),
    ]


Command = (
    Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Write, tyro.conf.subcommand("write")]
)


def main(command: tyro.conf.OmitSubcommandPrefixes[Command]) -> None:
    """Describe data sets."""
    command.run()


if __name__ == "__main__":
    cli.main(main, description=__doc__)
