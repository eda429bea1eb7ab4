"""Content of the tables on the page: results, recall, confusion, and the origin of each number."""

import collections
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from experiments.reporting.cells import Cell, Setting

# key, heading, kind: text, a plain number, an accuracy in per cent, or a difference in points
COLUMNS = (
    ("dataset", "Data", "text"),
    ("noise", "Noise", "text"),
    ("level", "Rate", "number"),
    ("method", "Method", "text"),
    ("ipc", "Per class", "number"),
    ("seeds", "Seeds", "number"),
    ("last_acc", "Last (%)", "share"),
    ("best_acc", "Best (%)", "share"),
    ("picked_acc", "Picked (%)", "share"),
    ("delta_last", "Δ last", "points"),
    ("delta_best", "Δ best", "points"),
    ("delta_picked", "Δ picked", "points"),
    ("published_acc", "Published (%)", "share"),
    ("delta_published", "Δ published", "points"),
)
FILTERS = ("dataset", "noise", "method")
MAX_CLASSES = 20  # classes of a recall table; with more classes, figures show thirds of them


def columns(results: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return the columns of the results table that have a value in some record."""
    return [column for column in COLUMNS if any(record[column[0]] is not None for record in results)]


def recalls(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return one table of recall per setting: classes down, methods across, means over seeds.

    A mean over classes hides differences between classes on long tails and with asymmetric noise.
    """
    groups: dict[Setting, list[Cell]] = collections.defaultdict(list)
    for cell in cells:
        if all(row.get("recall") and len(row["recall"]) <= MAX_CLASSES for row in cell.rows):
            groups[cell.setting].append(cell)
    return [_recall(setting, members) for setting, members in groups.items()]


def _recall(setting: Setting, cells: Sequence[Cell]) -> dict[str, Any]:
    names, counts = cells[0].rows[0]["class_names"], cells[0].rows[0].get("class_counts")
    means = [
        [getattr(cell.of(lambda row, c=c: row["recall"][c]), "mean", None) for cell in cells] for c in range(len(names))
    ]
    return {
        "title": f"{setting.data}, {setting.labels}",
        "heads": ["class", *(["images"] if counts else []), *(cell.name for cell in cells)],
        "lines": [
            {"name": name, "images": counts[c] if counts else None, "means": means[c]} for c, name in enumerate(names)
        ],
        "least": [
            min((value for value in column if value is not None), default=None) for column in zip(*means, strict=True)
        ],
    }


def confusions(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return the confusion counts of each cell whose rows have them, summed over seeds."""
    return [
        {
            "name": f"{cell.setting.data}, {cell.setting.labels}: {cell.name}",
            "classes": cell.rows[0]["class_names"],
            "counts": np.sum([row["confusion"] for row in cell.rows], axis=0).tolist(),
        }
        for cell in cells
        if all(row.get("confusion") for row in cell.rows)
    ]


def places(missing: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Return the cells of missing runs as text, each with the number of its missing seeds."""
    return collections.Counter(place for place, _ in dict.fromkeys((_place(run), run["seed"]) for run in missing))


def _place(run: dict[str, Any]) -> str:
    setting = Setting(run["dataset"], None, None, run["noise"], run["rate"])
    size = "" if run["ipc"] is None else f", {run['ipc']} per class"
    return f"{setting.data}, {setting.labels}: {run['method']}{size}, {run['protocol']}"


def described(row: dict[str, Any]) -> str:
    """Return the settings of a failed run as text."""
    known = {**row.get("config", {}), **row}
    names = ("dataset", "noise", "rate", "method", "ipc", "seed")
    return ", ".join(str(known[name]) for name in names if known.get(name) is not None)


def facts(row: dict[str, Any]) -> dict[str, Any]:
    """Return how a run was made, by name; facts that the row lacks are left out."""
    known = {
        "command": row.get("command"),
        "commit": row.get("commit"),
        "hardware": row.get("hardware"),
        "versions": ", ".join(f"{name} {version}" for name, version in (row.get("versions") or {}).items()),
        "noise checksum": row.get("noise_checksum"),
        "space": row.get("space"),
        "seconds": row.get("wall_s"),
        "students": ", ".join(f"{100 * value:.1f}" for value in row.get("students") or ()),
        "configuration": ", ".join(f"{k}={v}" for k, v in row["config"].items() if v not in (None, [], ())),
    }
    return {name: value for name, value in known.items() if value not in (None, "")}
