"""Text files of rows and columns, read with the number of each line so that an error can name it."""

import codecs
import csv
import io
import pathlib
from typing import NamedTuple

_MARKS = {"UTF-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "UTF-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)}


class Row(NamedTuple):
    """The cells of one row."""

    line: int  # where the row begins in the file; the first line is 1
    cells: list[str]


def read_text(path: pathlib.Path) -> str:
    """The text of a UTF-8 file, with or without a byte-order mark.

    Raises:
      ValueError: the file is in another encoding; the message names the file and the line.
    """
    data = path.read_bytes()
    for encoding, marks in _MARKS.items():
        if data.startswith(marks):
            raise ValueError(f"{path} is {encoding} text; save it as UTF-8")
    if 0 in data:
        raise ValueError(f"{path} holds zero bytes: it is UTF-16 text, or no text at all; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        raise ValueError(
            f"{path}, line {line} is not UTF-8 text (byte 0x{byte:02x}; Latin-1 perhaps); save the file as UTF-8"
        ) from None


def read_rows(path: pathlib.Path) -> list[Row]:
    """The rows of a .csv; lines without any text are left out.

    Raises:
      ValueError: the file is not UTF-8, or its quotes are not closed.
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
    return rows


def check_width(path: pathlib.Path, header: list[str], row: Row) -> None:
    """Refuse a row that has more cells than the header names."""
    if len(row.cells) > len(header):
        raise ValueError(
            f"{path}, line {row.line} has {len(row.cells)} columns, and the header names {len(header)}; "
            "put a cell that contains a comma into double quotes"
        )
