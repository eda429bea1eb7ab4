"""Facts about particular TFDS sets: sources, minimum versions, and the published rates of their human labels."""

import pathlib
from collections.abc import Mapping

import numpy as np

from ddjax.storage.files import manual_dir

# short name -> (TFDS name, label feature)
ALIASES = {
    "cifar10": ("cifar10", "label"),
    "cifar100": ("cifar100", "label"),
    "cifar100_coarse": ("cifar100", "coarse_label"),
    "mnist": ("mnist", "label"),
    "fashion_mnist": ("fashion_mnist", "label"),
    "svhn_cropped": ("svhn_cropped", "label"),
    "cifar10_n": ("cifar10_n", "label"),
    "cifar100_n": ("cifar100_n", "label"),
}
PUBLISHED_SIZE = {
    "cifar10": 50_000,
    "cifar100": 50_000,
    "cifar10_n": 50_000,
    "cifar100_n": 50_000,
    "tiny_imagenet": 100_000,
}
# earlier versions attach labels to the wrong images
MINIMUM_VERSION = {"cifar10_n": (1, 0, 4), "cifar100_n": (1, 0, 1)}
CHECKSUMS = {
    "cifar10": "cifar-10-binary.tar.gz, 170052171 bytes, SHA-256 "
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "cifar100": "cifar-100-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html",
}
MANUAL_FILES = {
    "cifar10_n": ("CIFAR-10_human_annotations.csv", "side_info_cifar10N.csv", "image_order_c10.npy"),
    "cifar100_n": ("CIFAR-100_human_annotations.csv", "side_info_cifar100N.csv", "image_order_c100.npy"),
    "tiny_imagenet": ("tiny-imagenet-200/ or tiny-imagenet-200.zip",),
}
CSV_COLUMNS = {
    "cifar10_n": "clean_label,aggre_label,worse_label,random_label1,random_label2,random_label3",
    "cifar100_n": "clean_label,noise_label",
}
# fraction of the 50 000 training labels that differ from the clean ones (Wei et al., 2022, arXiv:2110.12088)
HUMAN_RATES = {
    "cifar10_n": {
        "aggre_label": 0.0901,
        "worse_label": 0.40208,
        "random_label1": 0.17234,
        "random_label2": 0.18122,
        "random_label3": 0.1764,
    },
    "cifar100_n": {"noise_label": 0.402},
}


def missing_message(name: str, data_dir: pathlib.Path) -> str:
    """The message for a set that is not prepared: the expected place, and how to prepare it."""
    plain, _, version = name.partition(":")
    lines = [f"{plain} is not prepared: no {data_dir / plain}/{version or 'VERSION'}/dataset_info.json."]
    if plain in CHECKSUMS:
        lines.append(f"TFDS makes it from {CHECKSUMS[plain]}.")
    if plain in MANUAL_FILES:
        lines.append(
            f"It is made from files put by hand into {manual_dir(data_dir)}: {', '.join(MANUAL_FILES[plain])}."
        )
    if plain in CSV_COLUMNS:
        lines.append(
            f"The annotations are read by position, so the header must be {CSV_COLUMNS[plain]}; rows in TFDS order. "
            "Source: https://github.com/UCSC-REAL/cifar-10-100n."
        )
    lines.append(
        "Prepare it with download=True"
        + ("" if plain == "tiny_imagenet" else f" or `tfds build {plain} --data_dir={data_dir}`")
        + f"; or point data_dir= or TFDS_DATA_DIR to a folder that has it, or {plain}.npz."
    )
    return " ".join(lines)


def check_human_labels(name: str, split: str, labels: Mapping[str, np.ndarray]) -> None:
    """Raise a ValueError for CIFAR-N labels whose rate of wrong labels differs from the published rate."""
    if split != "train":
        return
    expected = HUMAN_RATES.get(name, {})
    rates = {feature: float((labels[feature] != labels["label"]).mean()) for feature in expected}
    wrong = {f: rate for f, rate in rates.items() if abs(rate - expected[f]) > 1e-4}
    if wrong:
        listed = ", ".join(f"{f} {rate:.4f} (published {expected[f]:.4f})" for f, rate in wrong.items())
        raise ValueError(
            f"{name}: rates of labels that differ from the clean ones are {listed}. The annotation CSV is read by "
            f"position: its header must be {CSV_COLUMNS[name]}, its rows in the order of the image_order file. "
            "Correct it and prepare the set again"
        )
