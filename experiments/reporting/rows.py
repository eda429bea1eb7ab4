"""Read result rows from a sweep's directory, a directory of single runs, or one file of JSON lines."""

import collections
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from ddjax.names import few
from ddjax.storage.rows import parsed, scan, text_of
from experiments.reporting.checking import BadRow, wrong
from experiments.sweeping.store import FAILED, NAMED, PLAN

SHOWN = 10  # unusable records that are listed; further ones are only counted


class Rows(NamedTuple):
    """Rows with a score, rows of failed runs, missing runs of a sweep's plan, and rows that cannot be used."""

    done: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    planned: int = 0  # number of runs in the plan of the last sweep into the directory; 0 without a plan
    missing: tuple[dict[str, Any], ...] = ()  # planned runs without a row
    bad: tuple[BadRow, ...] = ()
    seeds: int = 0  # number of seeds in the plan
    whole: int = 0  # number of those without a missing or failed run


def read_rows(where: pathlib.Path) -> Rows:
    """Read all usable rows under `where`.

    Returns:
      The rows in order of their settings. Of several rows with one fingerprint, the last one counts.

    Raises:
      ValueError: no row can be used.
    """
    by_fingerprint: dict[str, dict[str, Any]] = {}
    bad: list[BadRow] = []
    for file in files(where):
        usable, unusable = _rows_of(file, file.name if where.is_file() else file.relative_to(where).as_posix())
        by_fingerprint |= {row["fingerprint"]: row for row in usable}
        bad += unusable
    if not by_fingerprint:
        raise ValueError(
            f"no result rows in {where}: give the directory of a sweep, or a .jsonl file of result rows"
            + "".join(f"\n{line}" for line in left_out(bad))
        )
    rows = sorted(by_fingerprint.values(), key=_order)
    failed = [row for row in rows if row.get("status") in FAILED]
    plan, damaged = _plan(where / PLAN)
    missing = tuple(cell for cell in plan if cell["fingerprint"] not in by_fingerprint)
    done = [row for row in rows if row.get("status") not in FAILED]
    finished = {row["fingerprint"] for row in done}
    seeds = {cell["seed"] for cell in plan}
    left = {cell["seed"] for cell in plan if cell["fingerprint"] not in finished}
    return Rows(done, failed, len(plan), missing, (*bad, *damaged), len(seeds), len(seeds - left))


def left_out(bad: Sequence[BadRow]) -> list[str]:
    """Return the number of unusable records and one line for each of the first `SHOWN`; empty if all are usable."""
    if not bad:
        return []
    more = [f"and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
    count = "1 record cannot be used and is" if len(bad) == 1 else f"{len(bad)} records cannot be used and are"
    return [f"{count} left out:", *map(str, bad[:SHOWN]), *more]


def of_commits(rows: Sequence[dict[str, Any]]) -> str:
    """Return the commits of rows that are of several, with the numbers of their rows; otherwise an empty text."""
    counts = collections.Counter(row.get("commit") or "unknown" for row in rows).most_common()
    listed = few([f"{name} ({count})" for name, count in counts])
    return f"The rows are of {len(counts)} commits: {listed}." if len(counts) > 1 else ""


def _plan(file: pathlib.Path) -> tuple[list[dict[str, Any]], list[BadRow]]:
    """Return the planned cells of a sweep, or none and the reason why the plan cannot be used."""
    if not file.exists():
        return [], []
    try:
        plan = json.loads(file.read_bytes())
        reason = "" if isinstance(plan, list) and all(map(_planned, plan)) else "is not the plan of a sweep"
    except (ValueError, RecursionError) as error:
        reason = f"is not JSON ({error})"
    if not reason:
        return plan, []
    reason += ": missing runs are not listed; the next sweep into this directory replaces the plan"
    return [], [BadRow(file.name, None, reason)]


def _planned(cell: Any) -> bool:
    return isinstance(cell, dict) and set(NAMED) <= set(cell) and wrong(cell, failed=True) is None


def files(where: pathlib.Path) -> list[pathlib.Path]:
    """Return the files of rows: `where` itself, or its .jsonl files followed by its runs/*/row.json."""
    if not where.exists():
        raise ValueError(f"{where} does not exist: give the directory of a sweep, or a .jsonl file of result rows")
    return [where] if where.is_file() else [*sorted(where.glob("*.jsonl")), *sorted(where.glob("runs/*/row.json"))]


def _rows_of(file: pathlib.Path, name: str) -> tuple[list[dict[str, Any]], list[BadRow]]:
    """Return the usable and the unusable rows of a file."""
    lines = [(None, *parsed(text_of(file)))] if file.suffix == ".json" else scan(file)
    usable, bad = [], []
    for number, row, reason in lines:
        if row is None:
            bad.append(BadRow(name, number, reason))
        elif fault := wrong(row, row.get("status") in FAILED):
            bad.append(BadRow(name, number, fault))
        else:
            usable.append(row)
    return usable, bad


def _order(row: dict[str, Any]) -> tuple:
    names = ("dataset", "noise", "rate", "method", "protocol", "ipc", "seed")
    plain = [row.get(name, row.get("config", {}).get(name)) for name in names]
    return (*[(value is not None, str(type(value)) if value is None else value) for value in plain], row["fingerprint"])
