"""Published accuracies, for comparison with the rows of the study."""

import csv
import functools
import pathlib
from typing import Any, NamedTuple

CSV = pathlib.Path(__file__).parents[1] / "published.csv"
_DATASETS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "Tiny-ImageNet": "tiny_imagenet"}
_PUBLISHED_WIDTH = 128


class Published(NamedTuple):
    """A published accuracy, as a fraction like in our rows."""

    accuracy: float
    source: str


@functools.cache
def published() -> dict[tuple, Published]:
    """Return the published accuracies on a ConvNet by (data set, method, images per class, noise, rate).

    Published tables differ in their protocols. The first line of the file counts, which is the method's own paper if
    it has one.
    """
    table: dict[tuple, Published] = {}
    with open(CSV, newline="") as file:
        for line in csv.DictReader(file):
            if line["architecture"].startswith("ConvNet") and "BN" not in line["architecture"]:
                method = "full" if line["method"] == "full_dataset" else line["method"].lower()
                ipc = None if line["ipc"] == "full" else int(line["ipc"])
                rate = 0.0 if line["noise_type"].startswith("human_") else float(line["noise_rate"])
                key = _DATASETS[line["dataset"]], method, ipc, line["noise_type"].removeprefix("human_"), rate
                table.setdefault(key, Published(float(line["accuracy"]) / 100, line["source"]))
    return table


def published_for(row: dict[str, Any]) -> Published | None:
    """Return the published accuracy for a row; None if there is none, or for less data or a smaller network."""
    config = row["config"]
    shrunk = any(config.get(name) for name in ("limit", "imbalance", "network", "depth", "epochs", "steps"))
    if shrunk or config.get("width") not in (None, _PUBLISHED_WIDTH):
        return None
    return published().get(tuple(row[name] for name in ("dataset", "method", "ipc", "noise", "rate")))
