"""The page of a check-up, in Markdown, from its rows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from experiments.accelerator.jobs import FAILED, SKIPPED, Row

TITLES = {
    "machine": "Machine",
    "tests": "Tests marked `gpu`",
    "speed": "Steps at width 128",
    "pytorch": "Beside plain PyTorch loops",
    "fleet": "A fleet of five noise rates",
    "cells": "One cell per method",
}
NOTES = {
    "speed": """Policies that are the same on this platform are measured once. `of GEMM`: operations per second relative
to a matrix product in the same precision. `of memory`: bytes per second, as XLA counts them, relative to the measured
bandwidth; programs with loops have no count. `compile s`: the first compilation, beside other jobs.""",
    "pytorch": """Both run in turn in one process. PyTorch is eager, and its loops of DATM and DANCE do not augment.
`ratio`: time of PyTorch relative to ddjax.""",
    "fleet": "`ratio`: time of a step of five runs in one program relative to a step of one run.",
    "cells": """40 % symmetric noise, one image per class, short runs: these are checks, not results. Seconds are those
of runs side by side.""",
}


def page(facts: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The page.

    Returns:
      Markdown.
    """
    parts = ["# Check-up of an accelerator", tabulate(facts.items(), ("", ""), "pipe")]
    compiled = {
        (row.get("name"), row.get("products")): row["compile_s"] for row in _of(rows, "compile") if "compile_s" in row
    }
    for section, title in TITLES.items():
        own = _of(rows, section)
        if not own:
            continue
        shown = [row for row in own if not {FAILED, SKIPPED} & row.keys()]
        parts += [f"## {title}", *([NOTES[section]] if section in NOTES else [])]
        parts += [_tests(shown) if section == "tests" else _table(_columns(section, shown, compiled))]
    wrong = [row for row in rows if {FAILED, SKIPPED} & row.keys()]
    if wrong:
        parts += ["## Failed or skipped", _table({"job": r["job"], "why": _why(r)} for r in wrong)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _of(rows: Iterable[Row], section: str) -> list[Row]:
    return [row for row in rows if row["section"] == section]


def _why(row: Row) -> str:
    return f"skipped: {row[SKIPPED]}" if SKIPPED in row else row[FAILED]


def _escaped(value: Any) -> Any:
    return value.replace("|", "\\|") if isinstance(value, str) else value


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    rows = [{name: _escaped(value) for name, value in row.items()} for row in rows]
    return tabulate(rows, "keys", "pipe", floatfmt=".4g", missingval="") if rows else ""


def _tests(rows: list[Row]) -> str:
    verdicts = [row["verdict"] for row in rows]
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
    failed = [{"test": r["name"], "verdict": r["verdict"], "why": r["why"]} for r in rows if r["verdict"] != "passed"]
    return f"{counts}\n\n{_table(failed)}".strip()


def _columns(section: str, rows: list[Row], compiled: Mapping[Any, float]) -> Iterable[dict[str, Any]]:
    for row in rows:
        if section == "cells":
            yield {"method": row["method"], "test accuracy, %": 100 * row["last_acc"], "seconds": row.get("wall_s")}
            continue
        ms, name, products = 1e3 * row["seconds"], row["name"], row.get("products")
        common = {"step": name, "products": products}
        if section in ("fleet", "pytorch"):
            yield common | {"ms": ms, "images/s": row.get("images_per_s"), "ratio": row.get("ratio")}
        elif "gb" in row:
            yield common | {"GB/s": row["gb"]}
        else:
            yield common | {
                "ms": ms,
                "TFLOP/s": row["gflop"] and row["gflop"] / row["seconds"] / 1e3,
                "of GEMM": row["gemm_fraction"],
                "of memory": row.get("bandwidth_fraction"),
                "images/s": row.get("images_per_s"),
                "compile s": compiled.get((name, products), row.get("compile_s")),
                "peak MiB": row["peak_mib"],
            }
