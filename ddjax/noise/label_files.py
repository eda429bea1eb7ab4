"""Read label arrays from .pt, .npy and .csv files, without torch and without running code from the file."""

import pathlib
import re
from typing import Any

import numpy as np
from jaxtyping import Int

from ddjax.storage.arrays import read_npy
from ddjax.storage.delimited import check_widths, read_rows
from ddjax.storage.pickles import INTEGERS, guarded, read_torch, unpickle

_INTEGER = re.compile("-?[0-9]{1,18}")


def read(path: str | pathlib.Path) -> dict[str, Any] | Int[np.ndarray, "n"]:
    """Read label vectors from a file.

    Args:
      path: .pt: a dict or a vector saved by torch, in zip or legacy format. .npy: an integer array, or a dict in an
        object array. .csv: columns with a header; a single column needs no header, and gives a single vector.

    Returns:
      A dict from names to integer arrays or lists, or a single vector.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is damaged, or contains anything but labels.

    Example:
      >>> import tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels.csv"
      >>> _ = path.write_text("1\\n0\\n")
      >>> read(path).tolist()
      [1, 0]
    """
    path = pathlib.Path(path)
    readers = {".pt": _read_pt, ".npy": _read_npy}
    if path.suffix not in (*readers, ".csv"):
        raise ValueError(f"label file {path} must end in one of .pt, .npy, .csv")
    if not path.is_file():
        raise FileNotFoundError(f"label file {path} does not exist")
    if path.stat().st_size == 0:
        raise ValueError(f"label file {path} is empty (0 bytes); fetch it again")
    content = _read_csv(path) if path.suffix == ".csv" else guarded(path, "label file", readers[path.suffix])
    if isinstance(content, dict) and all(isinstance(name, str) for name in content):
        return content
    if isinstance(content, np.ndarray) and content.dtype.kind in "iu" and content.ndim == 1:
        return content
    shape = f"{content.dtype} {list(content.shape)}" if isinstance(content, np.ndarray) else type(content).__name__
    raise ValueError(f"label file {path} must hold integers [n] or a dict of named label vectors, not {shape}")


def _read_pt(path: pathlib.Path) -> Any:
    return read_torch(path, INTEGERS)


def _read_npy(path: pathlib.Path) -> Any:
    return read_npy(path, unpickle)


def _read_csv(path: pathlib.Path) -> dict[str, Any] | np.ndarray:
    rows = read_rows(path)
    header = [name.strip() for name in rows[0].cells] if rows else []
    named = not any(map(_INTEGER.fullmatch, header))
    if not named and len(header) > 1:
        raise ValueError(f"label file {path}, line {rows[0].line} must name the columns, but is {','.join(header)!r}")
    if len(rows) <= named:
        raise ValueError(f"label file {path} holds no labels")
    columns = np.empty((len(header), len(rows) - named), np.int64)
    check_widths(path, header, rows)
    for i, row in enumerate(rows[named:]):
        cells = [cell.strip() for cell in row.cells]
        if len(cells) < len(header) or not all(map(_INTEGER.fullmatch, cells)):
            raise ValueError(
                f"label file {path}, line {row.line} must hold {len(header)} whole numbers, but is "
                f"{','.join(row.cells)!r}"
            )
        columns[:, i] = [int(cell) for cell in cells]
    return columns[0] if len(header) == 1 else dict(zip(header, columns, strict=True))
