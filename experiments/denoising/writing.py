"""Files of the denoiser's findings."""

import csv
import json
import os
import pathlib
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ddjax.data.npz import npz_keys
from ddjax.data.tables import csv_table
from ddjax.denoising import DenoiseReport
from ddjax.denoising.report import KIND
from ddjax.denoising.tables import label_column, read_columns
from ddjax.storage.arrays import npz_headers, read_npz
from ddjax.storage.files import expanded, remove, replacing
from experiments.denoising import huggingface
from experiments.denoising.reading import OUTPUTS, Task
from experiments.denoising.settings import Settings

COLUMNS = ("id", "given_label", "suggested_label", "score", "rank", "flagged")


def write_labels(report: DenoiseReport, path: pathlib.Path) -> None:
    """Write labels.csv: one line per example, the most suspicious first."""
    columns = report.columns()
    rows = ([columns[name][i] for name in COLUMNS] for i in report.order())
    _table(path, COLUMNS, ([*line[:3], f"{line[3]:.6g}", int(line[4]), "yes" if line[5] else "no"] for line in rows))


def write_cleaned(report: DenoiseReport, task: Task, settings: Settings, folder: pathlib.Path) -> pathlib.Path:
    """Write a copy of the labels in which each flagged label is replaced by its suggestion.

    The copy has the format of the source. An .npz file of images gets a new label array. A .csv file gets a new label
    column and, if it lists images, paths relative to the copy. A folder becomes such a .csv file. Anything else becomes
    a .csv file of ids and labels.

    Returns:
      The path of the copy.
    """
    labels, path = report.cleaned, folder / "cleaned.csv"
    names = np.array(report.class_names)
    if task.dataset is None:
        if settings.labels and settings.labels.suffix == ".csv":
            _labels(expanded(settings.labels), settings.label_column, names[labels].tolist(), path)
        else:
            _table(path, ("id", "label"), zip(report.ids, names[labels], strict=True))
        return path
    given, dataset = expanded(settings.data or ""), task.dataset
    if given.suffix == ".npz" and given.is_file():
        return _npz(given, dataset.ids, labels, folder / "cleaned.npz")
    if given.suffix == ".csv" and given.is_file():
        _csv(given, dict(zip(dataset.ids.tolist(), names[labels], strict=True)), path)
    elif given.is_dir() and not huggingface.is_dataset(given):
        _table(path, ("path", "label"), zip(_from(folder, given, report.ids), names[labels], strict=True))
    else:
        _table(path, ("id", "label"), zip(report.ids, names[labels], strict=True))
    return path


def write_conflicts(report: DenoiseReport, path: pathlib.Path) -> None:
    """Write conflicts.csv: identical examples with different labels, one line per example."""
    names, groups = report.class_names, report.conflicts
    rows = [(number, report.ids[i], names[report.given[i]]) for number, each in enumerate(groups, 1) for i in each]
    _table(path, ("picture", "id", "given_label"), rows)


def clear(folder: pathlib.Path) -> None:
    """Remove the files of the last run into the folder, so that none of them contradicts those of this run.

    Other files stay, among them a distilled set or a folder `hf` that the last run did not write.
    """
    try:
        last = json.loads((folder / "report.json").read_bytes())
        if last["format"] != KIND.format:
            return
        kept = () if last["has_distilled"] else ("distilled.npz", "distilled.json")
    except (OSError, ValueError, KeyError, TypeError):
        return  # there was no run
    saved = folder / "hf" / "dataset_info.json"
    if not (saved.is_file() and b'"cleaned_label"' in saved.read_bytes()):
        kept += ("hf",)
    for name in OUTPUTS:
        if name not in kept:
            remove(folder / name)


def write_skipped(skipped: Sequence[str], path: pathlib.Path) -> None:
    """Write the files that could not be read, one line each with the reason."""
    with replacing(path, "w") as file:
        file.writelines(f"{line}\n" for line in skipped)


def _npz(source: pathlib.Path, ids: np.ndarray, labels: np.ndarray, path: pathlib.Path) -> pathlib.Path:
    key = npz_keys(source, npz_headers(source))[1]
    arrays = read_npz(source, [key, "ids"])
    whole, rows = arrays[key], ids
    if "ids" in arrays:
        order = np.argsort(arrays["ids"], kind="stable")
        rows = order[np.searchsorted(arrays["ids"][order], ids)]
    whole.reshape(len(whole))[rows] = labels
    with (
        replacing(path) as file,
        zipfile.ZipFile(source) as old,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            with new.open(name, "w", force_zip64=True) as copy, old.open(name) as member:
                if name.removesuffix(".npy") == key:
                    np.lib.format.write_array(copy, whole, allow_pickle=False)
                else:
                    shutil.copyfileobj(member, copy)
    return path


def _csv(source: pathlib.Path, labels: dict[int, str], path: pathlib.Path) -> None:
    header, column, rows = csv_table(source)
    label, name = header.index("label"), header.index(column)
    for number, (_, cells) in enumerate(rows):
        cells[label] = labels.get(number, cells[label])
        cells[name] = _from(path.parent, source.parent, [cells[name].strip()])[0]
        cells += [""] * (len(header) - len(cells))
    _table(path, header, (row.cells for row in rows))


def _labels(source: pathlib.Path, column: str | None, labels: list[str], path: pathlib.Path) -> None:
    columns = read_columns(source)
    columns[label_column(source, list(columns), column)] = labels
    _table(path, list(columns), zip(*columns.values(), strict=True))


def _from(folder: pathlib.Path, root: pathlib.Path, names: Iterable[str]) -> list[str]:
    """Paths below `root`, relative to `folder`."""
    way = pathlib.Path(os.path.relpath(root.resolve(), folder.resolve()))
    return [(way / name).as_posix() for name in names]


def _table(path: pathlib.Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with replacing(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
