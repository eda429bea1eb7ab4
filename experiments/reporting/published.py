"""Published accuracies, for comparison with the rows of the study."""

import csv
import functools
import pathlib
from typing import Any, NamedTuple

CSV = pathlib.Path(__file__).parents[1] / "published.csv"
_DATASETS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "Tiny-ImageNet": "tiny_imagenet"}
_PUBLISHED_WIDTH = 128


class Published(NamedTuple):
    """One published accuracy, as a fraction like in our rows."""

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
    """Return all lines of published.csv, with the names that our rows use."""
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


def published_for(row: dict[str, Any]) -> Published | None:
    """Return the published accuracy for a row: same data, noise, method and size, on a ConvNet.

    Published tables differ in their protocols. The first line of the file counts, which is the method's own paper if
    it has one.

    Args:
      row: a result row.

    Returns:
      The published accuracy; None if there is none, or if the row used less data or a smaller network.
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
