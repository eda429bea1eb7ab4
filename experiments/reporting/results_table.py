"""The page's table of results, and how each number in it was made."""

import collections
from collections.abc import Sequence
from html import escape
from typing import Any

from experiments.reporting.cells import Cell
from experiments.reporting.claims import Study
from experiments.reporting.export import fails_clean, summary
from experiments.reporting.rows import Rows

# key, heading, kind: text, a number as it is, an accuracy in per cent, or a difference in points
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
    ("published_acc", "Print (%)", "share"),
    ("delta_published", "Δ print", "points"),
)
FILTERS = ("dataset", "noise", "method")


def table(study: Study) -> str:
    """Filters, and a table that sorts by any heading; without a script it is a plain table."""
    records = summary(study)
    kept = [c for c in COLUMNS if any(record[c[0]] is not None for record in records)]
    heads = "".join(
        f'<th scope="col" aria-sort="none" class="{kind}"><button type="button">{escape(words)}'
        f'<span class="arrow" aria-hidden="true"></span></button></th>'
        for _, words, kind in kept
    )
    body = "".join(_line(record, kept) for record in records)
    return (
        f'{_filters(records)}<p id="count" role="status">{len(records)} of {len(records)} results</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Results"><table id="results">'
        "<caption><span>Means over seeds ± standard errors. Δ: points above training on everything, at its last epoch, "
        "its best on test data, and the one a noisy hold-out picks. Print: a published value for the same cell.</span>"
        "</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _filters(records: Sequence[dict[str, Any]]) -> str:
    selects = ""
    for key in FILTERS:
        values = list(dict.fromkeys(record[key] for record in records))
        options = "".join(f'<option value="{escape(v, quote=True)}">{escape(v)}</option>' for v in values)
        title = next(words for name, words, _ in COLUMNS if name == key)
        selects += f'<label>{title} <select data-filter="{key}"><option value="">all</option>{options}</select></label>'
    search = '<label>Search <input type="search" id="search" autocomplete="off"></label>'
    return f'<form class="filters" role="search" aria-label="Filter results">{selects}{search}</form>'


def _line(record: dict[str, Any], columns: Sequence[tuple[str, str, str]]) -> str:
    data = "".join(f' data-{key}="{escape(record[key], quote=True)}"' for key in FILTERS)
    cells = "".join(_value(record, key, kind) for key, _, kind in columns)
    return f"<tr{data}>{cells}</tr>"


def _value(record: dict[str, Any], key: str, kind: str) -> str:
    value = record[key]
    if kind == "text":
        return f"<td>{escape(value)}</td>"
    if value is None:
        return f'<td class="{kind}" data-value=""><span aria-label="none">–</span></td>'
    words = {"number": f"{value:g}", "share": f"{100 * value:.1f}", "points": f"{100 * value:+.1f}"}[kind]
    if key == "last_acc" and record["last_se"] is not None:
        words += f'<span class="se"> ± {100 * record["last_se"]:.1f}</span>'
    if key == "delta_published" and fails_clean(record):
        words += ' <span class="status fails">reproduction fails</span>'
    return f'<td class="{kind}" data-value="{value!r}">{words.replace("-", "−", 1) if value < 0 else words}</td>'


def provenance(cells: Sequence[Cell], rows: Rows) -> str:
    """How each number was made: a part that unfolds for each cell, with a paragraph for each run."""
    failed = "".join(_failure(row) for row in rows.failed)
    parts = [f'<h3 id="failed">Runs that failed</h3><ul>{failed}</ul>'] if failed else []
    if rows.missing:
        seeds = collections.Counter(_place(cell) for cell in rows.missing)
        items = "".join(f"<li>{escape(place)}: {count} seed{'s' * (count > 1)}</li>" for place, count in seeds.items())
        parts.append(
            '<h3 id="missing">Runs that are missing</h3>'
            f"<details><summary>{len(rows.missing)} of {rows.planned} planned</summary><ul>{items}</ul></details>"
        )
    return "".join([*parts, *map(_cell, cells)])


def _place(cell: dict[str, Any]) -> str:
    size = "" if cell["ipc"] is None else f", {cell['ipc']} per class"
    labels = f"{cell['noise']} {cell['rate']:g}" if cell["rate"] else cell["noise"]
    return f"{cell['dataset']}, {labels}: {cell['method']}{size}, {cell['protocol']}"


def _failure(row: dict[str, Any]) -> str:
    known = {**row.get("config", {}), **row}
    name = ", ".join(
        str(known[k]) for k in ("dataset", "noise", "rate", "method", "ipc", "seed") if known.get(k) is not None
    )
    reason = str(row.get("reason") or "no reason recorded")
    return f"<li><code>{escape(row['fingerprint'])}</code> {escape(name)}: {escape(reason)}</li>"


def _cell(cell: Cell) -> str:
    title = f"{cell.setting.data}, {cell.setting.labels}: {cell.name}"
    return f"<details><summary>{escape(title)}</summary>{''.join(map(_run, cell.rows))}</details>"


def _run(row: dict[str, Any]) -> str:
    facts = {
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
    items = "".join(
        f"<div><dt>{name}</dt><dd>{_fact(name, value)}</dd></div>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    name = escape(row["fingerprint"])
    title = f"<h4>seed {row['seed']}, <code>{name}</code></h4>"
    return f'<section class="run" id="run-{name}">{title}<dl>{items}</dl></section>'


def _fact(name: str, value: Any) -> str:
    words = escape(str(value))
    return f"<code>{words}</code>" if name in ("command", "commit", "noise checksum", "space") else words
