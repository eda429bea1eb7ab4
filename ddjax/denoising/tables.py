"""Files of features, predictions and labels: .npy, .npz, .parquet and .csv."""

import logging
import os
import pathlib
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from ddjax.data.validate import as_array
from ddjax.denoising.judging import SUM
from ddjax.names import few
from ddjax.storage.arrays import npz_headers, read_npz
from ddjax.storage.delimited import Row, check_widths, read_rows
from ddjax.storage.files import expanded

log = logging.getLogger("ddjax.denoising")

FEATURES = ("features", "embeddings", "x")
PRED_PROBS = ("pred_probs", "probabilities", "predictions")
LABELS = ("label", "labels", "given", "y")
IDS = ("id", "ids", "path", "image", "file")
TEXT = "text"
SUFFIXES = (".npy", ".npz", ".parquet", ".csv")


class Labelled(NamedTuple):
    """Labels from a file, and what else the file says about each example."""

    labels: np.ndarray  # [n] class numbers or names
    ids: np.ndarray | None  # [n]
    texts: np.ndarray | None  # [n]: the example itself, if it is a text


class Table(NamedTuple):
    """Numbers with a row for each example, and the names of their columns where they have any."""

    values: np.ndarray
    columns: tuple[str, ...] | None = None


def is_file(value: Any) -> bool:
    """Whether an argument is the path of a file and not an array."""
    return isinstance(value, str | os.PathLike)


def read_table(path: str | os.PathLike, names: Collection[str] = FEATURES, labels: str | None = None) -> Table:
    """Read features or predictions; an .npy is memory-mapped.

    The columns of a .parquet or .csv are its numbers. Columns that are named as labels, ids or texts are left out, and
    so is a column without a name, in which pandas writes the number of the row. A class may have such a name: the rows
    of predictions keep the columns without which they do not sum to 1.

    Args:
      path: an .npy, .npz, .parquet or .csv file.
      names: of the array in an .npz that holds several.
      labels: the name of a column of labels, which is left out as well.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file cannot be read, or has no such array; the message names it.
    """
    path = _checked(path)
    if path.suffix == ".npy":
        return Table(_mapped(path))
    if path.suffix == ".npz":
        found = [name for name, header in npz_headers(path).items() if len(header.shape) > 1]
        name = _named(path, found, names)
        return Table(read_npz(path, [name])[name])
    table = _table(path)
    apart = [name for name in table.columns if name == labels or name.lower() in (*LABELS, *IDS, TEXT, "")]
    plain = [name for name in table.columns if name not in apart]
    if names == PRED_PROBS and (classes := _classes(table, plain, [name for name in apart if name != labels])):
        apart = [name for name in apart if name not in classes]
        plain = [name for name in table.columns if name not in apart]
    _check_numbers(path, table[plain])
    if not plain:
        raise ValueError(f"{path} has the columns {few(list(table.columns))}, none of which is a feature")
    if apart:
        log.info("%s: the columns %s are left out, the others are read", path, few([repr(name) for name in apart]))
    return Table(table[plain].to_numpy(np.float32), tuple(plain))


def _classes(table: Any, plain: list[str], apart: list[str]) -> list[str]:
    """The columns of `apart` that are probabilities too: the rows sum to 1 with them, and do not without them."""
    numbers = [name for name in apart if table[name].dtype.kind in "fiu" and table[name].between(0, 1).all()]
    if any(table[name].dtype.kind not in "fiu" for name in plain):
        return []
    without, whole = (abs(table[each].sum(axis=1) - 1).max() for each in (plain, plain + numbers))
    return numbers if whole <= SUM < without else []


def as_table(values: Any) -> Table:
    """An array, or a data frame with the names of its columns. Masked entries are missing: NaN."""
    array, columns = as_array(values, "features or pred_probs"), getattr(values, "columns", None)
    if array.dtype.name == "bfloat16" or np.ma.is_masked(array):
        array = np.ma.filled(array.astype(np.float32), np.nan)
    if columns is None:
        return Table(np.asarray(array))
    if array.dtype == object:  # columns of several kinds
        _check_numbers("the data frame", values)
        array = values.to_numpy(np.float64, na_value=np.nan)
    return Table(array, tuple(map(str, columns)))


def _check_numbers(what: object, frame: Any) -> None:
    if text := [name for name, kind in frame.dtypes.items() if kind.kind not in "fiub"]:
        raise ValueError(
            f"{what}: the columns {few([repr(name) for name in text])} are not numbers: encode them (one column of 0 "
            "and 1 for each category), or leave them out"
        )


def read_labels(path: str | os.PathLike, column: str | None = None) -> Labelled:
    """Read labels, and texts and ids if the file has them. Ids that several examples share are left out.

    Args:
      path: an .npy, .npz, .parquet or .csv file.
      column: of the labels; by default one of `LABELS`, or the only column.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file cannot be read, or has no such column; the message names it.
    """
    path = _checked(path)
    if path.suffix == ".npy":
        return Labelled(_mapped(path), None, None)
    if path.suffix == ".npz":
        found = [name for name, header in npz_headers(path).items() if len(header.shape) == 1]
        name = _named(path, found, LABELS if column is None else [column])
        return Labelled(read_npz(path, [name])[name], None, None)
    columns: Mapping[str, Any] = read_columns(path) if path.suffix == ".csv" else _table(path)
    name = label_column(path, list(columns), column)
    if len(columns) == 1 and name.lower() not in LABELS and (name in list(columns[name]) or name.isdecimal()):
        raise ValueError(f"{path} has no header, and its first line {name!r} is a label: write 'label' above it")
    others = {other.lower(): each for other, each in columns.items() if other != name}
    named = {other: np.asarray(others[other], np.str_) for other in IDS if other in others}
    ids = next((each for each in named.values() if len(set(each.tolist())) == len(each)), None)
    if named and ids is None:  # a file may hold many examples
        log.warning("%s: entries of the columns %s repeat, so the row names each example", path, few(list(named)))
    labels = np.asarray(columns[name])
    if labels.dtype.kind in "Obf":  # text, truth values, or numbers some of which are missing, in a .parquet
        import pandas  # loaded only for tables

        labels = np.where(pandas.isna(labels), "", labels.astype(object)).astype(str)
    texts = np.asarray(others[TEXT], object) if TEXT in others else None
    return Labelled(_numbers(path, labels), ids, texts)


def label_column(path: pathlib.Path, names: list[str], column: str | None = None) -> str:
    """The column of the labels: `column`, one of `LABELS`, or the only one."""
    return _named(path, names, LABELS if column is None else [column])


def read_columns(path: pathlib.Path) -> dict[str, list[str]]:
    """The columns of a .csv as text, by name.

    Raises:
      ValueError: the file is not such a table; the message names the line.
    """
    header, rows = _rows(path)
    for row in rows:
        if len(row.cells) < len(header):
            raise ValueError(f"{path}, line {row.line} has {len(row.cells)} of {len(header)} columns: fill in all")
    cells = zip(*(row.cells for row in rows), strict=True)
    return {name: [cell.strip() for cell in column] for name, column in zip(header, cells, strict=True)}


def _rows(path: pathlib.Path) -> tuple[list[str], list[Row]]:
    """The header and the other rows of a .csv, none of which has more cells than the header."""
    first, *others = read_rows(path) or [None]
    if not others:
        raise ValueError(f"{path} needs a header and rows")
    header = [cell.strip() for cell in first.cells]
    _once(path, header)
    check_widths(path, header, others)
    return header, others


def _checked(path: str | os.PathLike) -> pathlib.Path:
    path = expanded(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} must be a file with one of the endings {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    return path


def _mapped(path: pathlib.Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is not a readable .npy of plain numbers: {error}") from error


def _named(path: pathlib.Path, found: list[str], wanted: Collection[str]) -> str:
    """The one of `found` that is wanted, or the only one."""
    plain = {str(name).strip().lower(): name for name in reversed(found)}
    for name in wanted:
        if same := name if name in found else plain.get(name.lower()):
            return same
    if len(found) == 1 and len(wanted) > 1:
        return found[0]
    held = few(found) or "no such array"
    raise ValueError(f"{path} holds {held}; it needs {' or '.join(wanted)}: rename or choose one")


def _table(path: pathlib.Path) -> Any:
    """A pandas DataFrame of a .parquet or .csv."""
    import pandas  # loaded only for tables
    import pyarrow.parquet

    header = _rows(path)[0] if path.suffix == ".csv" else None
    try:
        if header:
            table = pandas.read_csv(path, skipinitialspace=True)
        else:
            _once(path, pyarrow.parquet.read_schema(path).names)
            table = pandas.read_parquet(path)
    except (ValueError, IndexError, OSError) as error:
        raise ValueError(f"{path} is not a readable table: {error}") from error
    table.columns = header or [str(name).strip() for name in table.columns]
    return table


def _once(path: pathlib.Path, header: list[str]) -> None:
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise ValueError(f"{path} has several columns {twice[0]!r} in its header; rename all but one")


def _numbers(path: pathlib.Path, labels: np.ndarray) -> np.ndarray:
    """Labels of text as integers, if all of them are numbers."""
    if labels.dtype.kind != "U":
        return labels
    if empty := np.flatnonzero(labels == "").tolist():
        raise ValueError(
            f"{path}: {len(empty)} labels are empty, the first in row {empty[0]}: fill them in, or remove these rows "
            "here and in the features or predictions"
        )
    try:
        labels.astype(float)
    except ValueError:
        return labels
    if strange := [label for label in labels.tolist() if not re.fullmatch("[0-9]{1,9}", label)]:
        raise ValueError(
            f"{path}: labels {few(sorted(set(strange)))} are not class numbers: write 0, 1, ... in all rows, or names"
        )
    return labels.astype(np.int64)
