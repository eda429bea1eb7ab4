"""Numbers from the literature, to stand beside ours; never mixed with them."""

import csv
import functools
import pathlib
from typing import Any, NamedTuple

CSV = pathlib.Path(__file__).parents[1] / "published.csv"
_DATASETS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "Tiny-ImageNet": "tiny_imagenet"}
_PUBLISHED_WIDTH = 128


class Published(NamedTuple):
    """One number as printed somewhere, on the scale of our rows: accuracies are fractions."""

    method: str
    dataset: str
    ipc: int | None
    noise: str
    rate: float
    architecture: str
    accuracy: float
    std: float | None
    source: str


@functools.cache
def published() -> tuple[Published, ...]:
    """Every line of published.csv, its names replaced by those that our rows use."""
    with open(CSV, newline="") as file:
        return tuple(
            Published(
                "full" if line["method"] == "full_dataset" else line["method"].lower(),
                _DATASETS[line["dataset"]],
                None if line["ipc"] == "full" else int(line["ipc"]),
                line["noise_type"].removeprefix("human_"),
                float(line["noise_rate"]),
                line["architecture"],
                float(line["accuracy"]) / 100,
                float(line["std"]) / 100 if line["std"] else None,
                line["source"],
            )
            for line in csv.DictReader(file)
        )


def beside(row: dict[str, Any]) -> Published | None:
    """The published number for a row: same data, noise, method and size, on a ConvNet; None for anything smaller.

    Tables disagree where protocols differ; the first in the file counts, and it is the method's own where there is one.
    """
    config = row["config"]
    shrunk = any(config.get(name) for name in ("limit", "imbalance", "network", "depth", "epochs", "steps"))
    if shrunk or config.get("width") not in (None, _PUBLISHED_WIDTH):
        return None
    for line in published():
        same = (line.dataset, line.method, line.ipc, line.noise) == tuple(
            row[name] for name in ("dataset", "method", "ipc", "noise")
        )
        rate_fits = line.noise == row["noise"] and (not row["rate"] or abs(line.rate - row["rate"]) < 1e-6)
        if same and rate_fits and line.architecture.startswith("ConvNet") and "BN" not in line.architecture:
            return line
    return None
