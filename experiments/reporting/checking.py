"""Validation of rows: required columns, and the type and range of each column."""

from typing import Annotated, Any, NamedTuple

from ddjax import ranges
from ddjax.ranges import Range, Share

REQUIRED = (
    *("dataset", "noise", "rate", "effective_rate", "method", "ipc", "seed", "protocol"),
    *("last_acc", "best_acc", "train_images", "config", "fingerprint"),
)
_HUGE = 1e18  # squares of smaller numbers are finite
Number = Annotated[float, Range(-_HUGE, _HUGE)]
Amount = Annotated[float, Range(0, _HUGE)]
Positive = Annotated[float, Range(0, _HUGE, above=True)]
Size = Annotated[int, Range(1, _HUGE)]
Natural = Annotated[int, Range(0, _HUGE)]

_FIELDS: dict[str, Any] = {
    **dict.fromkeys(("fingerprint", "dataset", "noise", "method", "protocol"), str),
    **dict.fromkeys(("rate", "effective_rate", "last_acc", "best_acc"), Share),
    **dict.fromkeys(("picked_acc", "membership_auc", "absorbed"), Share | None),
    **dict.fromkeys(("distill_s", "wall_s", "distill_steps", "train_steps"), Amount | None),
    **dict.fromkeys(("distill_steady_s", "train_steady_s", "space_s"), Amount | None),
    **dict.fromkeys(("noise_checksum", "hardware"), str | None),
    "train_s": Positive | None,
    "seed": Natural,
    "ipc": Size | None,
    **dict.fromkeys(("train_images", "images"), Size),
    "config": dict,
    "versions": dict | None,
    "seeds": dict[str, Number | None],
    "operations": dict | None,
    **dict.fromkeys(("denoising", "membership", "shared_s"), dict[str, Number | None] | None),
    "students": list[Share] | None,
    "class_names": list[str],
    "class_counts": list[Natural] | None,
    "recall": list[Share | None] | None,
    "confusion": list[list[Natural]] | None,
}
_OPERATIONS: dict[str, Any] = {"distil": Amount, "train": Positive, "shared": dict[str, Amount]}
_SETTINGS: dict[str, Any] = {
    **{"limit": Size | None, "imbalance": Amount | None, "options": list[str], "noise_seed": Natural},
    **dict.fromkeys(("sampler", "order"), str),
    **dict.fromkeys(("precision", "labels_file", "matrix_file"), str | None),
}


class BadRow(NamedTuple):
    """A row, or the plan of a sweep, that cannot be used, with the reason."""

    file: str
    line: int | None  # None if the file is a single row
    reason: str

    def __str__(self) -> str:
        """Return place and reason in one line."""
        return f"{self.file}{'' if self.line is None else f', line {self.line}'}: {self.reason}"


def wrong(row: dict[str, Any], failed: bool) -> str | None:
    """Return why a row, or an entry of a sweep's plan, cannot be used; None for a valid one.

    A row that `failed` has no score: it needs only its fingerprint, and other columns may be null.
    """
    needed = ("fingerprint",) if failed else REQUIRED
    if missing := [name for name in needed if name not in row]:
        return f"lacks {', '.join(missing)}: it was not written by experiments.running.run"
    try:
        for name, kind in _FIELDS.items():
            empty = failed and name not in ("fingerprint", "config") and row.get(name) is None
            if name in row and not empty:
                ranges.check(row[name], kind, name)
                if row[name] == "":
                    return f"{name} is empty"
        for column, kinds in (("config", _SETTINGS), ("operations", _OPERATIONS)):
            inside = row.get(column) or {}
            for name, kind in kinds.items():
                if name in inside:
                    ranges.check(inside[name], kind, f"{column}.{name}")
    except ValueError as error:
        return str(error)
    return None if failed else _inconsistent(row)


def _inconsistent(row: dict[str, Any]) -> str | None:
    if row["method"] != "full" and "moments" not in row:  # the method makes a set
        if row["ipc"] is None:
            return f"ipc is null, but method {row['method']} makes a set of a given size"
        if "images" not in row and not row.get("membership"):  # rows of attacks have no number of images
            return "images is missing, but the number of images per class is given"
    if row.get("operations") and row["operations"].keys() != _OPERATIONS.keys():
        return f"operations are {', '.join(row['operations'])}, not distil, train and shared"
    k, confusion = len(row.get("class_names", ())), row.get("confusion")
    if confusion is not None and not (len(confusion) == k and all(len(line) == k for line in confusion)):
        return f"confusion is not {k} x {k}, for the {k} class_names"
    for name in ("recall", "class_counts"):
        if row.get(name) is not None and len(row[name]) != k:
            return f"{name} has {len(row[name])} entries for {k} class_names"
    return None
