"""Tables as files: a row per run behind every figure, a row per cell as on the page."""

import csv
import importlib.util
import io
import pathlib
from collections.abc import Sequence
from typing import Any

from ddjax.storage.files import replacing
from experiments.reporting.cells import MOMENTS, Compared, ordered
from experiments.reporting.claims import Study
from experiments.reporting.contrasts import Estimate
from experiments.reporting.published import beside

FORMATS = ("csv", "md", "tex", "parquet")
GAP = 0.03  # a clean result this far below the published one: the reproduction fails, whatever the noise does


def runs(study: Study) -> list[dict[str, Any]]:
    """One record per run, with the mean of its baseline and the published value; accuracies are fractions."""
    return [_run(one, row) for one in _everything(study) for row in one.cell.rows]


def _run(one: Compared, row: dict[str, Any]) -> dict[str, Any]:
    setting, full, printed = one.cell.setting, one.baseline, beside(row)
    against = {m: full.of(f"{m}_acc") if full else None for m in MOMENTS}
    made = {
        "dataset": setting.data,
        "noise": setting.noise,
        "level": setting.rate,
        "effective_rate": row["effective_rate"],
        "method": one.cell.series,
        "ipc": one.cell.ipc,
        "seed": row["seed"],
        "last_acc": row["last_acc"],
        "best_acc": row["best_acc"],
        "baseline_id": full.protocol if full else None,
    }
    made |= {f"baseline_{m}": found.mean if found else None for m, found in against.items()}
    made |= {f"delta_{m}": row["last_acc"] - found.mean if found else None for m, found in against.items()}
    made["published_acc"] = printed.accuracy if printed else None
    made["delta_published"] = row["last_acc"] - printed.accuracy if printed else None
    return made | {"protocol": one.cell.protocol, "fingerprint": row["fingerprint"]}


def summary(study: Study) -> list[dict[str, Any]]:
    """One record per cell: means over seeds, standard errors, differences from the baseline and from print."""
    return [_cell(one) for one in _everything(study)]


def _cell(one: Compared) -> dict[str, Any]:
    cell, setting = one.cell, one.cell.setting
    score, printed = cell.of("last_acc"), beside(cell.rows[0])
    made = {
        "dataset": setting.data,
        "noise": setting.noise,
        "level": setting.rate,
        "effective_rate": mean(cell.of("effective_rate")),
        "method": cell.series,
        "ipc": cell.ipc,
        "seeds": len(cell.rows),
        "last_acc": score.mean,
        "last_se": score.se,
        "best_acc": mean(cell.of("best_acc")),
        "picked_acc": mean(cell.of("picked_acc")),
    }
    made |= {f"delta_{m}": mean(one.deltas.get(m)) for m in MOMENTS}
    made |= {f"delta_{m}_se": d.se if (d := one.deltas.get(m)) else None for m in MOMENTS}
    made["published_acc"] = printed.accuracy if printed else None
    made["delta_published"] = score.mean - printed.accuracy if printed else None
    made["published_source"] = printed.source if printed else None
    return made


def fails_clean(record: dict[str, Any]) -> bool:
    """Whether a record of a clean cell lies so far below print that the reproduction itself is in doubt."""
    return record["noise"] == "clean" and record["delta_published"] is not None and record["delta_published"] < -GAP


def mean(found: Estimate | None) -> float | None:
    """The mean of an estimate, where there is one."""
    return found.mean if found else None


def _everything(study: Study) -> list[Compared]:
    beside_full = {id(one.cell): one for one in study.compared}
    return [beside_full.get(id(cell), Compared(cell, None, {})) for cell in ordered(study.cells)]


def write(folder: pathlib.Path, name: str, records: list[dict[str, Any]], formats: Sequence[str]) -> list[pathlib.Path]:
    """The records as `folder/name.FORMAT` for each format; returns the files."""
    written = []
    for kind in formats:
        path = folder / f"{name}.{kind}"
        if kind == "parquet":
            _parquet(path, records)
        else:
            with replacing(path, "w") as file:
                file.write({"csv": as_csv, "md": as_markdown, "tex": as_latex}[kind](records))
        written.append(path)
    return written


def parquet_possible() -> bool:
    """Whether pandas and pyarrow, the `report` extra, are installed."""
    return all(importlib.util.find_spec(name) for name in ("pandas", "pyarrow"))


def _parquet(path: pathlib.Path, records: list[dict[str, Any]]) -> None:
    import pandas

    with replacing(path) as file:
        buffer = io.BytesIO()
        pandas.DataFrame(records).to_parquet(buffer, index=False)
        file.write(buffer.getvalue())


def as_csv(records: list[dict[str, Any]]) -> str:
    """Comma-separated values with a header; what is missing stays empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{key: "" if value is None else value for key, value in one.items()} for one in records])
    return buffer.getvalue()


def as_markdown(records: list[dict[str, Any]]) -> str:
    """A pipe table."""
    lines = [list(records[0]), ["---"] * len(records[0]), *[[_short(v) for v in one.values()] for one in records]]
    return "".join("| " + " | ".join(str(v).replace("|", "\\|") for v in line) + " |\n" for line in lines)


def as_latex(records: list[dict[str, Any]]) -> str:
    """A tabular environment for the booktabs package."""
    rows = ["    " + " & ".join(latex(_short(v)) for v in one.values()) + " \\\\\n" for one in records]
    head = "    " + " & ".join(latex(name) for name in records[0]) + " \\\\\n"
    columns = "".join("r" if isinstance(v, (int, float)) else "l" for v in records[0].values())
    body = f"    \\toprule\n{head}    \\midrule\n{''.join(rows)}    \\bottomrule\n"
    return f"\\begin{{tabular}}{{{columns}}}\n{body}\\end{{tabular}}\n"


def latex(words: str) -> str:
    """Text whose special characters LaTeX prints as they are."""
    special = {c: f"\\{c}" for c in "&%$#_{}"} | {
        "\\": "\\textbackslash{}",
        "~": "\\textasciitilde{}",
        "^": "\\textasciicircum{}",
    }
    return "".join(special.get(c, c) for c in words)


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
