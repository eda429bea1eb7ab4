"""The denoiser's findings as files."""

import csv
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ddjax.data import Dataset
from ddjax.data.tables import csv_table, npz_keys
from ddjax.denoising import DenoiseReport
from ddjax.storage.files import npz_headers, read_npz, replacing

COLUMNS = ("id", "given_label", "suggested_label", "score", "rank", "flagged")


def write_labels(report: DenoiseReport, path: pathlib.Path) -> None:
    """labels.csv: a line for each image, the most suspicious first."""
    columns = report.columns()
    rows = ([columns[name][i] for name in COLUMNS] for i in report.order())
    _table(path, COLUMNS, ([*line[:3], f"{line[3]:.6g}", int(line[4]), "yes" if line[5] else "no"] for line in rows))


def write_cleaned(report: DenoiseReport, source: str, dataset: Dataset, folder: pathlib.Path) -> pathlib.Path:
    """A copy of the labels with every flagged one replaced by its suggestion, in the form that the source has.

    An .npz comes back with its label array changed; a .csv with its label column changed and its paths rewritten so
    that they lead from the copy to the images; a folder as such a .csv; a set with a name as id and label.
    """
    given = pathlib.Path(source).expanduser()
    labels = report.cleaned
    if given.suffix == ".npz" and given.is_file():
        return _npz(given, dataset.ids, labels, folder / "cleaned.npz")
    path = folder / "cleaned.csv"
    names = np.array(report.class_names)
    if given.suffix == ".csv" and given.is_file():
        _csv(given, dict(zip(dataset.ids.tolist(), names[labels], strict=True)), path)
    elif given.is_dir():
        _table(path, ("path", "label"), zip(_from(folder, given, report.ids), names[labels], strict=True))
    else:
        _table(path, ("id", "label"), zip(report.ids, names[labels], strict=True))
    return path


def write_conflicts(report: DenoiseReport, path: pathlib.Path) -> None:
    """conflicts.csv: the images of each picture that occurs under several labels, a line for each image."""
    names, groups = report.class_names, report.conflicts
    rows = [(number, report.ids[i], names[report.given[i]]) for number, each in enumerate(groups, 1) for i in each]
    _table(path, ("picture", "id", "given_label"), rows)


def write_skipped(skipped: Sequence[str], path: pathlib.Path) -> None:
    """The files that could not be read, with the reason, a line each."""
    with replacing(path, "w") as file:
        file.writelines(f"{line}\n" for line in skipped)


def _npz(source: pathlib.Path, ids: np.ndarray, labels: np.ndarray, path: pathlib.Path) -> pathlib.Path:
    keys = npz_keys(source, npz_headers(source))
    arrays = read_npz(source)
    whole = np.array(arrays[keys[1]])
    rows = ids
    if "ids" in arrays:
        order = np.argsort(arrays["ids"], kind="stable")
        rows = order[np.searchsorted(arrays["ids"][order], ids)]
    flat = whole.reshape(len(whole))
    flat[rows] = labels
    with replacing(path) as file:
        np.savez_compressed(file, **(arrays | {keys[1]: flat.reshape(whole.shape)}))
    return path


def _csv(source: pathlib.Path, labels: dict[int, str], path: pathlib.Path) -> None:
    header, column, rows = csv_table(source)
    label, name = header.index("label"), header.index(column)
    for number, (_, cells) in enumerate(rows):
        cells[label] = labels.get(number, cells[label])
        cells[name] = _from(path.parent, source.parent, [cells[name].strip()])[0]
        cells += [""] * (len(header) - len(cells))
    _table(path, header, (row.cells for row in rows))


def _from(folder: pathlib.Path, root: pathlib.Path, names: Iterable[str]) -> list[str]:
    """Paths below `root` as they lead from `folder`."""
    way = pathlib.Path(os.path.relpath(root.resolve(), folder.resolve()))
    return [(way / name).as_posix() for name in names]


def _table(path: pathlib.Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with replacing(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
