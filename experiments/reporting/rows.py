"""Result rows from where they lie: a sweep's directory, a directory of single runs, or one file of JSON lines."""

import json
import pathlib
from typing import Any, NamedTuple

from ddjax.results import read
from experiments.sweeping.store import FAILED, PLAN

NEEDED = (
    *("dataset", "noise", "rate", "effective_rate", "method", "ipc", "seed", "protocol"),
    *("last_acc", "best_acc", "train_images", "config", "fingerprint"),
)


class Rows(NamedTuple):
    """Rows that carry a score, those that only say why they have none, and what a sweep's plan wants besides."""

    done: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    planned: int = 0  # runs that the last sweep into the directory wanted; 0 where there is no plan
    missing: tuple[dict[str, Any], ...] = ()  # those of them without any row


def read_rows(where: pathlib.Path) -> Rows:
    """All rows under `where`; of several with the same fingerprint the one read last counts."""
    found = {row["fingerprint"]: row for file in files(where) for row in _checked(file)}
    if not found:
        raise ValueError(f"no result rows in {where}: give a sweep's directory, or a .jsonl file that a run wrote")
    rows = sorted(found.values(), key=_order)
    failed = [row for row in rows if row.get("status") in FAILED]
    plan = _plan(where / PLAN)
    missing = tuple(cell for cell in plan if cell["fingerprint"] not in found)
    return Rows([row for row in rows if row.get("status") not in FAILED], failed, len(plan), missing)


def _plan(file: pathlib.Path) -> list[dict[str, Any]]:
    """The cells that a sweep wrote down as wanted."""
    if not file.exists():
        return []
    try:
        return json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is not JSON: {error}. The next sweep into its directory writes it anew.") from error


def files(where: pathlib.Path) -> list[pathlib.Path]:
    """The files that hold rows: `where` itself, or its .jsonl files and then its runs/*/row.json."""
    if not where.exists():
        raise ValueError(f"{where} does not exist: give a sweep's directory, or a .jsonl file of result rows")
    return [where] if where.is_file() else [*sorted(where.glob("*.jsonl")), *sorted(where.glob("runs/*/row.json"))]


def _checked(file: pathlib.Path) -> list[dict[str, Any]]:
    if file.suffix == ".jsonl":
        rows = read(file)
    else:
        try:
            rows = [json.loads(file.read_text())]
        except json.JSONDecodeError as error:
            raise ValueError(f"{file} is not JSON: {error}") from error
    for row in rows:
        needed = ("fingerprint",) if row.get("status") in FAILED else NEEDED
        if lacking := [name for name in needed if name not in row]:
            raise ValueError(f"a row in {file} lacks {', '.join(lacking)}: it was not written by experiments.run")
    return rows


def _order(row: dict[str, Any]) -> tuple:
    names = ("dataset", "noise", "rate", "method", "protocol", "ipc", "seed")
    plain = [row.get(name, row.get("config", {}).get(name)) for name in names]
    return (*[(value is not None, str(type(value)) if value is None else value) for value in plain], row["fingerprint"])
