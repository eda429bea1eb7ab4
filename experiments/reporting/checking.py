"""Validation of rows: required columns, and the values that each column accepts."""

import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

REQUIRED = (
    *("dataset", "noise", "rate", "effective_rate", "method", "ipc", "seed", "protocol"),
    *("last_acc", "best_acc", "train_images", "config", "fingerprint"),
)
_HUGE = 1e18


class BadRow(NamedTuple):
    """A row, or the plan of a sweep, that cannot be used, with the reason."""

    file: str
    line: int | None  # None if the file is a single row
    field: str  # empty if the line is not a row
    reason: str

    def __str__(self) -> str:
        """Return place, field and reason in one line."""
        place = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{place}: {f'field {self.field}: ' if self.field else ''}{self.reason}"


class _Kind(NamedTuple):
    """The values that a column accepts."""

    words: str
    fits: Callable[[Any], bool]


def _number(value: Any) -> bool:
    """Return whether a value is a finite number; integers beyond the range of float count as infinite."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _HUGE


def _at_least(low: int) -> _Kind:
    return _Kind(
        f"an integer of at least {low}",
        lambda value: isinstance(value, int) and _number(value) and value >= low,
    )


def _or_null(kind: _Kind) -> _Kind:
    return _Kind(f"{kind.words}, or null", lambda value: value is None or kind.fits(value))


def _list_of(kind: _Kind) -> _Kind:
    return _Kind(
        f"a list, each entry {kind.words}", lambda value: isinstance(value, list) and all(map(kind.fits, value))
    )


_TEXT = _Kind("text", lambda value: isinstance(value, str) and bool(value))
_SHARE = _Kind("a number from 0 to 1", lambda value: _number(value) and 0 <= value <= 1)
_AMOUNT = _Kind("a number of at least 0", lambda value: _number(value) and value >= 0)
_DURATION = _Kind("a number above 0", lambda value: _number(value) and value > 0)
_OBJECT = _Kind("an object", lambda value: isinstance(value, dict))
_NUMBERS = _Kind(
    "an object of numbers",
    lambda value: isinstance(value, dict) and all(v is None or _number(v) for v in value.values()),
)

_FIELDS: Mapping[str, _Kind] = {
    **dict.fromkeys(("fingerprint", "dataset", "noise", "method", "protocol"), _TEXT),
    **dict.fromkeys(("rate", "effective_rate", "last_acc", "best_acc"), _SHARE),
    **dict.fromkeys(("picked_acc", "membership_auc", "absorbed"), _or_null(_SHARE)),
    **dict.fromkeys(("distill_s", "wall_s", "distill_steps", "train_steps"), _or_null(_AMOUNT)),
    "train_s": _or_null(_DURATION),
    "seed": _at_least(0),
    "ipc": _or_null(_at_least(1)),
    **dict.fromkeys(("train_images", "images"), _at_least(1)),
    "config": _OBJECT,
    "versions": _or_null(_OBJECT),
    "denoising": _or_null(_NUMBERS),
    "students": _or_null(_list_of(_SHARE)),
    "class_names": _list_of(_TEXT),
    "class_counts": _or_null(_list_of(_at_least(0))),
    "recall": _or_null(_list_of(_or_null(_SHARE))),
    "confusion": _or_null(_list_of(_list_of(_at_least(0)))),
}
_SETTINGS: Mapping[str, _Kind] = {
    "limit": _or_null(_at_least(1)),
    "imbalance": _or_null(_AMOUNT),
    "options": _list_of(_TEXT),
}


def wrong(row: dict[str, Any], failed: bool) -> tuple[str, str] | None:
    """Return the first invalid field and the reason; None for a valid row.

    Args:
      row: a row, or an entry of a sweep's plan.
      failed: whether the row has no score. It then needs only its fingerprint, and other columns may be null.

    Returns:
      The name of the field (empty for missing columns) and the reason.
    """
    needed = ("fingerprint",) if failed else REQUIRED
    if missing := [name for name in needed if name not in row]:
        return "", f"lacks {', '.join(missing)}: it was not written by experiments.running.run"
    for name, kind in _FIELDS.items():
        empty = failed and name not in ("fingerprint", "config") and row.get(name) is None
        if name in row and not empty and not kind.fits(row[name]):
            return name, _not_a(row[name], kind)
    config = row.get("config", {})
    for name, kind in _SETTINGS.items():
        if name in config and not kind.fits(config[name]):
            return f"config.{name}", _not_a(config[name], kind)
    return None if failed else _inconsistent(row)


def _inconsistent(row: dict[str, Any]) -> tuple[str, str] | None:
    if row["method"] != "full" and "moments" not in row:  # the method makes a set
        if row["ipc"] is None:
            return "ipc", f"is null, but method {row['method']} makes a set of a given size"
        if "images" not in row and not row.get("membership"):  # rows of attacks have no number of images
            return "images", "is missing, but the number of images per class is given"
    confusion, by_class = row.get("confusion"), {"recall": row.get("recall"), "class_counts": row.get("class_counts")}
    k = len(row.get("class_names", ()))
    if confusion is not None and not (len(confusion) == k and all(len(line) == k for line in confusion)):
        return "confusion", f"is not {k} x {k}, for the {k} class_names"
    for name, values in by_class.items():
        if values is not None and len(values) != k:
            return name, f"has {len(values)} entries for {k} class_names"
    return None


def _not_a(value: Any, kind: _Kind) -> str:
    return f"{reprlib.repr(value)} is not {kind.words}"
