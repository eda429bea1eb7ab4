"""Tables as files: one with a row per run, one with a row per cell."""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas

from ddjax.storage.files import replacing
from experiments.reporting.cells import MOMENTS, Compared, ordered, precision
from experiments.reporting.claims import Study
from experiments.reporting.contrasts import Estimate
from experiments.reporting.published import published_for

GAP = 0.03  # a clean accuracy this far below the published one counts as a failed reproduction


def runs(study: Study) -> list[dict[str, Any]]:
    """Return one record per run, with the mean of its baseline and the published value; accuracies are fractions."""
    return [record for one in _compared(study) for record in _runs(one)]


def _runs(one: Compared) -> Iterator[dict[str, Any]]:
    against = {m: one.baseline.of(f"{m}_acc") if one.baseline else None for m in MOMENTS}
    for row in one.cell.rows:
        yield _run(one, row, against)


def _run(one: Compared, row: dict[str, Any], against: dict[str, Estimate | None]) -> dict[str, Any]:
    setting, full, literature = one.cell.setting, one.baseline, published_for(row)
    record = {
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
    record |= {f"baseline_{m}": estimate.mean if estimate else None for m, estimate in against.items()}
    record |= {f"delta_{m}": row["last_acc"] - estimate.mean if estimate else None for m, estimate in against.items()}
    record["published_acc"] = literature.accuracy if literature else None
    record["delta_published"] = row["last_acc"] - literature.accuracy if literature else None
    return record | {"protocol": one.cell.protocol, "precision": precision(row), "fingerprint": row["fingerprint"]}


def summary(study: Study) -> list[dict[str, Any]]:
    """Return one record per cell: means, standard errors, differences from the baseline and from published values."""
    return [_cell(one) for one in _compared(study)]


def _cell(one: Compared) -> dict[str, Any]:
    cell, setting, deltas = one.cell, one.cell.setting, one.deltas
    score, literature = cell.of("last_acc"), published_for(cell.rows[0])
    record = {
        "dataset": setting.data,
        "noise": setting.noise,
        "level": setting.rate,
        "effective_rate": mean(cell.of("effective_rate")),
        "method": cell.series,
        "ipc": cell.ipc,
        "seeds": len(cell.rows),
        "precision": cell.precision,
        "last_acc": score.mean,
        "last_se": score.se,
        "best_acc": mean(cell.of("best_acc")),
        "picked_acc": mean(cell.of("picked_acc")),
    }
    record |= {f"delta_{m}": mean(deltas.get(m)) for m in MOMENTS}
    record |= {f"delta_{m}_se": d.se if (d := deltas.get(m)) else None for m in MOMENTS}
    record["published_acc"] = literature.accuracy if literature else None
    record["delta_published"] = score.mean - literature.accuracy if literature else None
    record["published_source"] = literature.source if literature else None
    return record


def fails_clean(record: dict[str, Any]) -> bool:
    """Return whether the accuracy of a clean cell is more than `GAP` below the published value."""
    return record["noise"] == "clean" and record["delta_published"] is not None and record["delta_published"] < -GAP


def mean(estimate: Estimate | None) -> float | None:
    """Return the mean of an estimate; None without an estimate."""
    return estimate.mean if estimate else None


def _compared(study: Study) -> list[Compared]:
    beside_full = {id(one.cell): one for one in study.compared}
    return [beside_full.get(id(cell), Compared(cell, None, {})) for cell in ordered(study.cells)]


def write(folder: pathlib.Path, name: str, records: list[dict[str, Any]], formats: Sequence[str]) -> None:
    """Write the records as `folder/name.FORMAT`, and remove the files of other formats, which are of earlier rows."""
    frame = pandas.DataFrame(records).astype({"ipc": "Int64"})  # the whole set has no size: pandas would make floats
    for kind, made in FORMATS.items():
        path = folder / f"{name}.{kind}"
        if kind not in formats:
            path.unlink(missing_ok=True)
            continue
        with replacing(path) as file:
            file.write(made(frame))


def as_markdown(frame: pandas.DataFrame) -> str:
    """Return a pipe table with four significant digits; missing values are empty."""

    def text(value: Any) -> str:
        if pandas.isna(value):
            return ""
        return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")

    return frame.astype(object).map(text).to_markdown(index=False, disable_numparse=True) + "\n"


def as_latex(frame: pandas.DataFrame) -> str:
    """Return a tabular environment for the booktabs package; special characters of LaTeX are escaped."""
    return frame.to_latex(index=False, escape=True, float_format="%.4g", na_rep="")


FORMATS: dict[str, Callable[[pandas.DataFrame], bytes]] = {
    "csv": lambda frame: frame.to_csv(index=False).encode(),
    "md": lambda frame: as_markdown(frame).encode(),
    "tex": lambda frame: as_latex(frame).encode(),
    "parquet": lambda frame: frame.to_parquet(index=False),
}
