"""Pickled numbers and arrays, and files of torch.save, read without torch and without running code from the file."""

import io
import math
import pathlib
import pickle
import re
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

TORCH_MAGIC = 0x1950A86A20F9469CFC6C
INTEGERS, NUMBERS = "iu", "iufb"  # kinds of NumPy dtypes
_STORAGES = {
    **{"FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "LongStorage": "i8", "IntStorage": "i4"},
    **{"ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "b1"},
}


class Refused(ValueError):
    """The file contains something other than numbers, strings, containers and arrays."""


def guarded(path: pathlib.Path, what: str, reader: Callable[[pathlib.Path], Any]) -> Any:
    """Read a file that may be damaged or hostile.

    Args:
      path: the file.
      what: it should be, for the error message, such as "label file".
      reader: of the file.

    Raises:
      OSError: the file cannot be read.
      ValueError: the file is damaged, or is not what it should be.
    """
    try:
        return reader(path)
    except Refused as error:
        raise ValueError(f"{what} {path}: {error}") from error
    except OSError:
        raise
    except Exception as error:  # damaged pickles and arrays raise many kinds of errors
        raise ValueError(f"{what} {path} is truncated or not a {what}: {error or type(error).__name__}") from error


def read_torch(path: pathlib.Path, kinds: str = NUMBERS) -> Any:
    """Read a file of torch.save in the zip or the legacy format; tensors become arrays of the given kinds of dtypes.

    Raises:
      Refused: the file asks for more than numbers, strings, containers and arrays.
      Exception: the file is damaged; errors are of many kinds, so call it through `guarded`.
    """
    data = path.read_bytes()
    if data[:2] == b"PK":
        return _read_zip(data, kinds)
    stream, storages = io.BytesIO(data), _Storages()

    def following() -> Any:
        return _Unpickler(stream, kinds, storages).load()

    first = following()
    if first != TORCH_MAGIC:
        return _plain(first)
    following()  # the protocol number
    machine, content = following(), following()
    if storages.known:
        order = "<" if machine.get("little_endian", True) else ">"
        for key in following():
            storage = storages.known[key]
            count = int.from_bytes(stream.read(8), "little" if order == "<" else "big")
            storage.fill(stream.read(storage.nbytes), count, order)
    return _plain(content)


def unpickle(stream: io.BufferedIOBase, kinds: str = INTEGERS) -> Any:
    """Read the next pickle of `stream`, which may not contain tensors."""
    return _plain(_Unpickler(stream, kinds, None).load())


def _read_zip(data: bytes, kinds: str) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = [info for info in archive.infolist() if info.filename.split("/")[-1] == "data.pkl"]
        if len(found) != 1:
            raise ValueError("the archive does not hold one data.pkl")
        storages = _Storages()
        folder = found[0].filename.removesuffix("data.pkl")
        content = _Unpickler(io.BytesIO(_stored(archive, found[0].filename)), kinds, storages).load()
        order = b"little"
        if f"{folder}byteorder" in archive.namelist():
            order = _stored(archive, f"{folder}byteorder")
        if sum(storage.nbytes for storage in storages.known.values()) > len(data):
            raise Refused("its tensors are larger than the file")
        for key, storage in storages.known.items():
            storage.fill(_stored(archive, f"{folder}data/{key}"), storage.count, "<" if order == b"little" else ">")
        return _plain(content)


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise Refused(f"its member {name} is compressed; torch.save compresses nothing")
    return archive.read(info)


class _Storage:
    """The numbers of one or more tensors, which the file holds apart from the pickle."""

    def __init__(self, dtype: str, count: int) -> None:
        self.dtype, self.count = np.dtype(dtype), count
        self.values: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        return self.count * self.dtype.itemsize

    def fill(self, data: bytes, count: int, order: str) -> None:
        if count != self.count or len(data) != self.nbytes:
            raise ValueError(f"a tensor of {self.count} numbers has {len(data)} of {self.nbytes} bytes")
        self.values = np.frombuffer(data, self.dtype.newbyteorder(order))


class _Storages:
    """The storages that a pickle refers to by persistent ids, by their keys."""

    def __init__(self) -> None:
        self.known: dict[str, _Storage] = {}

    def find(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count, *view = pid
        if kind != "storage" or not isinstance(dtype, str) or not isinstance(key, str) or any(view):
            raise Refused("it refers to an object that is not the storage of a tensor")
        if type(count) is not int or count < 0:
            raise Refused(f"it contains a storage of {count!r} numbers")
        storage = self.known.setdefault(key, _Storage(dtype, count))
        if (storage.dtype, storage.count) != (np.dtype(dtype), count):
            raise Refused(f"it refers to storage {key} in two ways")
        return storage


class _Unpickler(pickle.Unpickler):
    """An unpickler with its own functions only. Even the reconstruction code of NumPy is not called."""

    def __init__(self, stream: Any, kinds: str, storages: _Storages | None) -> None:
        super().__init__(stream, encoding="latin1")
        self.kinds, self.storages = kinds, storages

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy._core", "numpy.core")
        known = {
            ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
            ("numpy.core.numeric", "_frombuffer"): lambda data, dtype, shape, order: _Array(data, dtype, shape, order),
            ("numpy", "ndarray"): "ndarray",  # used only as an argument of _reconstruct
            ("numpy", "dtype"): lambda code, *_: _DType(code, self.kinds),
            ("_codecs", "encode"): lambda text, _: text.encode("latin1"),
            ("collections", "OrderedDict"): dict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda *parts: _Tensor(*parts[:4]),  # storage, offset, size, stride
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        }
        if module == "torch" and _STORAGES.get(name, "?")[0] in self.kinds:
            return _STORAGES[name]
        if (module, name) not in known:
            raise Refused(
                f"it asks for {module}.{name}, which {self._expected()} do not need; no code was run. Only dicts, "
                f"lists, numbers and arrays of {self._expected()} are read"
            )
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        if self.storages is None:
            raise Refused("it contains torch tensors; save NumPy arrays instead (tensor.numpy())")
        return self.storages.find(pid)

    def _expected(self) -> str:
        return "integers" if self.kinds == INTEGERS else "numbers"


class _DType:
    """The dtype of an array in a pickle: 'i8' and then its byte order, or 'O8'."""

    def __init__(self, code: str, kinds: str) -> None:
        if not re.fullmatch(rf"[{kinds}][1248]|O8?", code):
            raise Refused(f"it contains an array of dtype {code!r}; accepted are {', '.join(kinds)}")
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


class _Tensor(NamedTuple):
    """A tensor: the entries of a storage at an offset, with a size and a stride for each axis."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def plain(self) -> np.ndarray:
        places = (self.offset, *self.size, *self.stride)
        if len(self.size) != len(self.stride) or any(type(n) is not int or n < 0 for n in places):
            raise Refused(f"it contains a tensor of size {self.size!r} and stride {self.stride!r}")
        values, count = self.storage.values, math.prod(self.size)
        assert values is not None
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        if count and (last >= len(values) or count > len(values)):
            raise Refused("it contains a tensor that reaches beyond its storage")
        if not count:
            return np.empty(self.size, self.storage.dtype)
        steps = [step * values.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.size, steps).astype(self.storage.dtype)


def _plain(value: Any, done: dict[int, Any] | None = None) -> Any:
    """The value with arrays in place of the parts that were collected. Shared parts are converted once."""
    done = {} if done is None else done
    if id(value) not in done:
        if isinstance(value, (_Array, _Tensor)):
            done[id(value)] = value.plain()
        elif isinstance(value, dict):
            done[id(value)] = {key: _plain(item, done) for key, item in value.items()}
        elif isinstance(value, (list, tuple)):
            done[id(value)] = type(value)(_plain(item, done) for item in value)
        elif isinstance(value, _Storage):
            raise Refused("it contains the storage of a tensor in place of a tensor")
        else:
            return value
    return done[id(value)]
