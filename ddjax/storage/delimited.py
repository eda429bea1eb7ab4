"""Text files of rows and columns, read with line numbers for error messages."""

import codecs
import csv
import io
import pathlib
from typing import NamedTuple

_MARKS = {"UTF-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "UTF-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)}


class Row(NamedTuple):
    """The cells of one row."""

    line: int  # the first line of the row in the file, from 1
    cells: list[str]


def read_text(path: pathlib.Path) -> str:
    """Read a UTF-8 file, with or without a byte-order mark.

    Raises:
      ValueError: the file is in another encoding; the message names the file and the line.
    """
    data = path.read_bytes()
    for encoding, marks in _MARKS.items():
        if data.startswith(marks):
            raise ValueError(f"{path} is {encoding} text; save it as UTF-8")
    if 0 in data:
        raise ValueError(f"{path} contains zero bytes: it is UTF-16, or not text; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        raise ValueError(
            f"{path}, line {line} is not UTF-8 text (byte 0x{byte:02x}; perhaps Latin-1); save the file as UTF-8"
        ) from None


def read_rows(path: pathlib.Path) -> list[Row]:
    """Read the rows of a .csv. Empty lines are skipped.

    Raises:
      ValueError: the file is not UTF-8, a quote is not closed, or the columns are separated by another character.

    Example:
      >>> import tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.csv"
      >>> _ = path.write_text("path,label\\na.png,cat\\n")
      >>> read_rows(path)[1]
      Row(line=2, cells=['a.png', 'cat'])
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), skipinitialspace=True, strict=True)
    rows, line = [], 1
    try:
        for cells in reader:
            if cells:
                rows.append(Row(line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}, line {line}: {error}; a cell that begins with a quote must end with one") from error
    if rows and len(rows[0].cells) == 1 and (other := next((mark for mark in ";\t" if mark in rows[0].cells[0]), None)):
        raise ValueError(f"{path} separates its columns by {other!r}: save it with commas")
    return rows


def check_widths(path: pathlib.Path, header: list[str], rows: list[Row]) -> None:
    """Raise a ValueError for the first row with more cells than the header."""
    row = next((row for row in rows if len(row.cells) > len(header)), None)
    if row:
        raise ValueError(
            f"{path}, line {row.line} has {len(row.cells)} columns, and the header names {len(header)}; "
            "put a cell that contains a comma into double quotes"
        )
