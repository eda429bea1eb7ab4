"""CIFAR-N: human labels of the CIFAR training images (Wei et al., ICLR 2022)."""

import pathlib
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Int32

from ddjax import names
from ddjax.noise import label_files
from ddjax.noise.labels import as_ids, as_labels
from ddjax.noise.orders import published_order
from ddjax.storage import files

LENGTH = 50_000
SOURCE = "the publishers' repository is github.com/UCSC-REAL/cifar-10-100n"

C10_KEYS = ("clean_label", "aggre_label", "worse_label", "random_label1", "random_label2", "random_label3")
C100_KEYS = ("clean_label", "noisy_label", "clean_coarse_label", "noisy_coarse_label")
FILES = {"cifar10": "CIFAR-10_human.pt", "cifar100": "CIFAR-100_human.pt"}


class LabelSet(NamedTuple):
    """A published label vector, and the key of the corresponding clean labels."""

    dataset: str
    key: str
    num_classes: int
    clean_key: str = "clean_label"


SETS = {
    "aggre": LabelSet("cifar10", "aggre_label", 10),
    "worst": LabelSet("cifar10", "worse_label", 10),
    "rand1": LabelSet("cifar10", "random_label1", 10),
    "rand2": LabelSet("cifar10", "random_label2", 10),
    "rand3": LabelSet("cifar10", "random_label3", 10),
    "noisy100": LabelSet("cifar100", "noisy_label", 100),
    "clean100": LabelSet("cifar100", "clean_label", 100),
    "noisy100_coarse": LabelSet("cifar100", "noisy_coarse_label", 20, "clean_coarse_label"),
}
SYNONYMS = {labels.key: name for name, labels in SETS.items()} | {"noise_label": "noisy100"}


class HumanLabels(NamedTuple):
    """Given and clean labels of the same examples."""

    given: Int32[np.ndarray, "n"]
    clean: Int32[np.ndarray, "n"]


def human_labels(
    name: str, *, path: str | pathlib.Path | None = None, clean: Any = None, ids: Any = None
) -> HumanLabels:
    """Read a human label set for the examples `ids`.

    Args:
      name: aggre, worst, rand1..rand3, noisy100, clean100 or noisy100_coarse, or its key in the file.
      path: the label file; by default the published file in the TFDS folder of manual downloads.
      clean: labels [n] or [n, 1] of the same examples; they must equal those in the file.
      ids: [n] canonical indices (positions in the original training set); all 50 000 by default.

    Returns:
      The given and the clean labels.

    Raises:
      FileNotFoundError: there is no label file.
      ValueError: the name is unknown, the file is damaged, or the clean labels differ.
    """
    chosen = names.choose(SETS, SYNONYMS.get(name, name), "human label set")
    path = pathlib.Path(path) if path else default_file(chosen.dataset)
    table = read_human(path, chosen.dataset)
    if chosen.key not in table or chosen.clean_key not in table:
        raise ValueError(f"{path} has no {chosen.key}; {FILES[chosen.dataset]} has ({SOURCE})")
    ids = as_ids(ids, LENGTH if ids is None else len(ids))
    if ids.size and ids.max() >= LENGTH:
        raise ValueError(f"ids must lie in 0..{LENGTH - 1} for human labels {name!r}, got {ids.max()}")
    truth = table[chosen.clean_key][ids]
    if clean is not None:
        _compare(as_labels(clean, chosen.num_classes, "clean"), truth, name, path)
    return HumanLabels(table[chosen.key][ids], truth)


def clean_labels(dataset: str, path: str | pathlib.Path | None = None) -> Int32[np.ndarray, "n"]:
    """Read the clean training labels of cifar10 or cifar100.

    Args:
      dataset: cifar10 or cifar100.
      path: the label file, or a label vector (.npy or .csv); by default the published file.

    Returns:
      The labels: of a CIFAR-N file [50000] in original order, of a vector [n] in the order of the file.

    Raises:
      FileNotFoundError: there is no label file.
      ValueError: the data set is unknown, or the file is damaged.
    """
    names.check_known("data set with published human labels", dataset, FILES)
    path = pathlib.Path(path) if path else default_file(dataset)
    content = _content(path, dataset)
    if isinstance(content, dict):
        return read_human(path, dataset)["clean_label"]
    return as_labels(content, _classes("clean_label", dataset), str(path))


def default_file(dataset: str) -> pathlib.Path:
    """The expected path of the published label file of a data set."""
    return files.manual_dir() / FILES[dataset]


def read_human(path: str | pathlib.Path, dataset: str) -> dict[str, Int32[np.ndarray, "50000"]]:
    """Read all label vectors of a CIFAR-N file in original order, under the keys of the .pt files.

    .pt files are in original order. .npy files (a dict in an object array) and .csv files (the annotations for the TFDS
    builders) are in TFDS order and are reordered.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not a CIFAR-N file of this data set.
    """
    path = pathlib.Path(path)
    content = _content(path, dataset)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a single label vector, not the named ones of CIFAR-N ({SOURCE})")
    table = {{"noise_label": "noisy_label"}.get(key, key): values for key, values in content.items()}
    known = C10_KEYS if dataset == "cifar10" else C100_KEYS
    required = known if dataset == "cifar10" or path.suffix == ".pt" else C100_KEYS[:2]
    missing, foreign = sorted(set(required) - set(table)), sorted(set(table) - set(known))
    if missing or foreign:
        raise ValueError(
            f"{path} is not a CIFAR-N file of {dataset}: {missing} missing, {foreign} unexpected ({SOURCE})"
        )
    if path.suffix == ".csv" and tuple(table) != tuple(key for key in known if key in table):
        header = ",".join(known if dataset == "cifar10" else ("clean_label", "noise_label"))
        raise ValueError(
            f"{path} has its columns in the order {','.join(table)}; TFDS reads them by position: {header}"
        )
    order = published_order(dataset)
    for key, values in table.items():
        values = as_labels(values, _classes(key, dataset), f"{key} of {path.name}")
        if len(values) != LENGTH:
            raise ValueError(f"{path} is truncated: {key} has {len(values)} labels instead of {LENGTH}")
        if path.suffix != ".pt":
            values = values[np.argsort(order)]
        table[key] = values
    if dataset == "cifar10" and _rate(table, "aggre_label") > _rate(table, "worse_label"):
        raise ValueError(
            f"{path} has aggre_label and worse_label exchanged: {_rate(table, 'aggre_label'):.4f} and "
            f"{_rate(table, 'worse_label'):.4f} of them are wrong; the published rates are 0.0901 and 0.4021"
        )
    return table


def _classes(key: str, dataset: str) -> int:
    return 10 if dataset == "cifar10" else 20 if "coarse" in key else 100


def _rate(table: dict[str, np.ndarray], key: str) -> float:
    return float(np.mean(table[key] != table["clean_label"]))


def _content(path: pathlib.Path, dataset: str) -> Any:
    if not path.exists():
        raise FileNotFoundError(f"{path} is needed for the labels of {dataset} and does not exist; {SOURCE}")
    return label_files.read(path)


def _compare(clean: Int[np.ndarray, "n"], truth: Int[np.ndarray, "m"], name: str, path: pathlib.Path) -> None:
    if clean.shape != truth.shape:
        raise ValueError(f"human labels {name!r}: {len(clean)} clean labels for {len(truth)} ids")
    wrong = np.flatnonzero(clean != truth)
    if wrong.size:
        raise ValueError(
            f"human labels {name!r} do not belong to these examples: {wrong.size} of {len(clean)} clean labels differ "
            f"from those of {path} (first at position {wrong[0]}: {clean[wrong[0]]} there, {truth[wrong[0]]} in the "
            "file). Labels join by id, the position in the original training set; is this another order?"
        )
