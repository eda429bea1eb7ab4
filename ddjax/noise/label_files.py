"""Read label arrays from .pt, .npy and .csv files, without torch and without running code from the file."""

import io
import pathlib
import pickle
import re
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Int

from ddjax.storage.arrays import read_npy
from ddjax.storage.delimited import check_width, read_rows

TORCH_MAGIC = 0x1950A86A20F9469CFC6C
MAX_BYTES = 1 << 28  # of an unpacked archive member; the published files are smaller than 3 MB


_INTEGER = re.compile("-?[0-9]{1,18}")


class Refused(ValueError):
    """The file contains objects that a label file does not need."""


def read(path: str | pathlib.Path) -> dict[str, Any] | Int[np.ndarray, "n"]:
    """Read label vectors from a file.

    Args:
      path: .pt: a dict saved by torch, in zip or legacy format. .npy: an integer array, or a dict in an object array.
        .csv: columns with a header; a single column needs no header, and gives a single vector.

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
    content = _read_csv(path) if path.suffix == ".csv" else _guarded(path, readers[path.suffix])
    if isinstance(content, dict) and all(isinstance(name, str) for name in content):
        return content
    if isinstance(content, np.ndarray) and content.dtype.kind in "iu" and content.ndim == 1:
        return content
    shape = f"{content.dtype} {list(content.shape)}" if isinstance(content, np.ndarray) else type(content).__name__
    raise ValueError(f"label file {path} must hold integers [n] or a dict of named label vectors, not {shape}")


def _guarded(path: pathlib.Path, reader: Callable[[pathlib.Path], Any]) -> Any:
    try:
        return reader(path)
    except Refused as error:
        raise ValueError(f"label file {path}: {error}") from error
    except OSError:
        raise
    except Exception as error:  # damaged pickles and arrays raise many kinds of errors
        raise ValueError(
            f"label file {path} is truncated or not a label file: {error or type(error).__name__}"
        ) from error


def _read_pt(path: pathlib.Path) -> Any:
    data = path.read_bytes()
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [info for info in archive.infolist() if info.filename.split("/")[-1] == "data.pkl"]
            if len(members) != 1 or members[0].file_size > MAX_BYTES:
                raise ValueError("the archive does not hold one data.pkl of reasonable size")
            return unpickle(io.BytesIO(archive.read(members[0])))
    stream = io.BytesIO(data)
    first = unpickle(stream)
    if first != TORCH_MAGIC:
        return first
    unpickle(stream), unpickle(stream)  # protocol number, machine information
    return unpickle(stream)


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
    for i, row in enumerate(rows[named:]):
        check_width(path, header, row)
        cells = [cell.strip() for cell in row.cells]
        if len(cells) < len(header) or not all(map(_INTEGER.fullmatch, cells)):
            raise ValueError(
                f"label file {path}, line {row.line} must hold {len(header)} whole numbers, but is "
                f"{','.join(row.cells)!r}"
            )
        columns[:, i] = [int(cell) for cell in cells]
    return columns[0] if len(header) == 1 else dict(zip(header, columns, strict=True))


def unpickle(stream: io.BufferedIOBase) -> Any:
    """Read the next pickle of `stream`. It may contain only numbers, strings, containers and integer NumPy arrays."""
    return _plain(_LabelUnpickler(stream, encoding="latin1").load())


class _LabelUnpickler(pickle.Unpickler):
    """An unpickler with its own functions only. Even the reconstruction code of NumPy is not called."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy._core", "numpy.core")
        known = {
            ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
            ("numpy.core.numeric", "_frombuffer"): lambda data, dtype, shape, order: _Array(data, dtype, shape, order),
            ("numpy", "ndarray"): "ndarray",  # used only as an argument of _reconstruct
            ("numpy", "dtype"): _DType,
            ("_codecs", "encode"): lambda text, _: text.encode("latin1"),
        }
        if (module, name) not in known:
            raise Refused(
                f"it asks for {module}.{name}, which a label file does not need; no code was run. "
                "Only dicts and lists of integers or of integer NumPy arrays are read"
            )
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise Refused("it contains torch tensors; save NumPy arrays instead (tensor.numpy())")


class _DType:
    """The dtype of an array in a pickle: 'i8' and then its byte order, or 'O8'."""

    def __init__(self, code: str, *_: Any) -> None:
        if not re.fullmatch(r"[iu][1248]|O8?", code):
            raise Refused(f"it contains an array of dtype {code!r}; labels are integers")
        self.code, self.byte_order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self.byte_order = {"<": "<", ">": ">"}.get(state[1], "=")


class _Array:
    """The parts of an array in a pickle, collected until it is complete."""

    def __init__(self, data: Any = b"", dtype: Any = None, shape: Any = (0,), order: str = "C") -> None:
        self.data, self.dtype, self.shape, self.order = data, dtype, shape, order

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.dtype, fortran, self.data = state
        self.order = "F" if fortran else "C"

    def plain(self) -> Any:
        if self.dtype.code.startswith("O"):
            (only,) = self.data  # the published files wrap a single dict
            return _plain(only)
        data = self.data.encode("latin1") if isinstance(self.data, str) else self.data
        return np.frombuffer(data, self.dtype.byte_order + self.dtype.code).reshape(self.shape, order=self.order).copy()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.plain() if isinstance(value, _Array) else value
