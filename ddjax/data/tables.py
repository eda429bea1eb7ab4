"""Data sets in a .csv of image files and labels."""

import pathlib
import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from ddjax.data.dataset import Dataset
from ddjax.data.identical import labelled_twice
from ddjax.data.images import DECODER, decode_files
from ddjax.data.mapped import taken
from ddjax.data.npz import ROW_SPLIT
from ddjax.data.source import Source, Work, listing_digest
from ddjax.data.validate import assemble, held_out, numbered
from ddjax.names import few
from ddjax.storage.delimited import Row, check_widths, read_rows
from ddjax.storage.files import sha256

PATH_COLUMNS = ("path", "image", "file")


class Listed(NamedTuple):
    """The columns of a .csv of images."""

    paths: list[str]
    labels: list[str]
    splits: list[str] | None
    lines: list[int]  # line number of each row, from 1


def csv_source(path: pathlib.Path, *, image_size: int | None, strict: bool) -> Source:
    """Find a data set in a .csv with the columns path (or image, or file) and label, and optionally split.

    Paths are relative to the file, and split is train or test. Labels are class numbers if all are integers, and
    otherwise names, numbered in sorted order. The id of an example is its row below the header, from 0. Without a split
    column, a fifth of the rows is held out (`validate.held_out`).

    Raises:
      FileNotFoundError: a listed file does not exist.
      ValueError: the file is not such a table.
    """
    rows = csv_rows(path)
    files = [path.parent / name for name in rows.paths]
    listed = zip(rows.paths, files, rows.lines, strict=True)
    missing = [f"{name!r} (line {line})" for name, file, line in listed if not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{path} lists {len(missing)} files that do not exist, such as {few(missing, 3)}; paths are relative to it"
        )
    identity = {
        "kind": "csv",
        "sha256": sha256(path),
        "files": listing_digest((name, file.stat()) for name, file in zip(rows.paths, files, strict=True)),
        "image_size": image_size,
        "strict": strict,
    }
    return Source(path.stem, identity, lambda work=None: _read_csv(path, rows, image_size, strict, work))


def csv_table(path: pathlib.Path) -> tuple[list[str], str, list[Row]]:
    """Read a .csv of images: its header, the name of the column of paths, and the rows.

    Raises:
      ValueError: the file is not such a table; the message names the file and the line.
    """
    rows = read_rows(path)
    header = [cell.strip() for cell in rows[0].cells] if rows else []
    column = next((name for name in PATH_COLUMNS if name in header), None)
    if column is None or "label" not in header:
        raise ValueError(f"{path} has columns {header}; it needs a header with {' or '.join(PATH_COLUMNS)}, and label")
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise ValueError(f"{path} has several columns {twice!r} in its header; rename all but one")
    check_widths(path, header, rows[1:])
    return header, column, rows[1:]


def csv_rows(path: pathlib.Path) -> Listed:
    """Read the columns path, label and, if there is one, split.

    Raises:
      ValueError: a cell is empty, or a path has two labels or two splits; the message names the file, the line and the
        remedy.
    """
    header, column, rows = csv_table(path)
    if not rows:
        raise ValueError(f"{path} has a header and no rows")
    wanted = [column, "label", *(["split"] if "split" in header else [])]
    columns: dict[str, list[str]] = {key: [] for key in wanted}
    first: dict[pathlib.PurePath, tuple[dict[str, str], int]] = {}
    for row in rows:
        cells = dict(zip(header, row.cells, strict=False))
        for key in wanted:
            columns[key].append(cells.get(key, "").strip())
            if not columns[key][-1]:
                raise ValueError(f"{path}, line {row.line}: {key} is empty; fill it in or remove the row")
        if "split" in header and columns["split"][-1] not in ("train", "test"):
            raise ValueError(f"{path}, line {row.line}: split is {columns['split'][-1]!r}, not train or test")
        name, facts = columns[column][-1], {key: columns[key][-1] for key in wanted[1:]}
        before, line = first.setdefault(pathlib.PurePath(name), (facts, row.line))
        for key, value in facts.items():
            if value != before[key]:
                raise ValueError(
                    f"{path}, line {row.line}: {name!r} has the {key} {value!r}, and {before[key]!r} in line {line}; "
                    "remove one of the two rows"
                )
    return Listed(columns[column], columns["label"], columns.get("split"), [row.line for row in rows])


def class_numbers(rows: Listed, path: pathlib.Path) -> tuple[Int[np.ndarray, "n"], list[str]]:
    """The class number of each row, and the class names: "0", "1", ... if the labels are numbers.

    Raises:
      ValueError: all labels are numbers, but one is not an integer from 0; the message names the line.
    """
    if not all(map(_is_number, rows.labels)):
        names, numbers = np.unique(rows.labels, return_inverse=True)
        return numbers, names.tolist()
    for label, line in zip(rows.labels, rows.lines, strict=True):
        if not re.fullmatch("[0-9]{1,9}", label):
            raise ValueError(
                f"{path}, line {line}: label {label!r} is not a class number; write 0, 1, ... in all rows, or names"
            )
    numbers = np.array([int(label) for label in rows.labels])
    return numbers, numbered(numbers, f"{path} labels")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_csv(path: pathlib.Path, rows: Listed, image_size: int | None, strict: bool, work: Work | None) -> Dataset:
    names = rows.paths
    numbers, class_names = class_numbers(rows, path)
    is_test = held_out([f"row_{i}" for i in range(len(names))])
    if rows.splits is not None:
        is_test = np.array(rows.splits) == "test"
    if not is_test.any() or is_test.all():
        raise ValueError(
            f"{path}: of {len(names)} rows, {is_test.sum()} are in the test set; add rows, or a column split with both "
            "train and test"
        )
    decoded = decode_files(names, path.parent, image_size=image_size, strict=strict, work=work)
    conflicts = labelled_twice(decoded, names, [class_names[c] for c in numbers])
    ids = np.arange(len(names))[decoded.kept]
    numbers, is_test = numbers[decoded.kept], is_test[decoded.kept]
    return assemble(
        path.stem,
        images=taken(decoded.images, ~is_test),
        labels=numbers[~is_test],
        ids=ids[~is_test],
        keys=[names[i] for i in ids[~is_test]],
        test_images=taken(decoded.images, is_test),
        test_labels=numbers[is_test],
        class_names=class_names,
        canonical=not decoded.skipped,
        provenance={
            "source": f"file {path}",
            "decoder": DECODER,
            "split": ROW_SPLIT if rows.splits is None else "test set by the split column",
            "skipped": decoded.skipped,
            "conflicts": conflicts,
            "image_size": image_size,
        },
    )
