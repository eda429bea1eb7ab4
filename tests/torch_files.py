"""Files of torch.save, written without torch: the same pickles, persistent ids and bytes of storages."""

import contextlib
import io
import pickle
import sys
import types
import zipfile

import numpy as np

from ddjax.storage.pickles import TORCH_MAGIC

NAMES = {"f4": "FloatStorage", "f8": "DoubleStorage", "i8": "LongStorage", "i4": "IntStorage", "u1": "ByteStorage"}


class Tensor:
    """A tensor, pickled as torch does; `size` and `stride` may lie."""

    def __init__(self, values, size=None, stride=None, offset=0):
        self.values = np.ascontiguousarray(values)
        self.size = tuple(self.values.shape if size is None else size)
        steps = [step // self.values.itemsize for step in self.values.strides]
        self.stride = tuple(steps[: len(self.size)] if stride is None else stride)
        self.offset = offset

    def __reduce__(self):
        storage = Storage(self.values)
        return modules()["torch._utils"]._rebuild_tensor_v2, (storage, self.offset, self.size, self.stride, False, {})


class Storage:
    def __init__(self, values):
        self.values = values


@contextlib.contextmanager
def torch_modules():
    """Modules named torch and torch._utils, in which pickle finds the names that it writes."""
    sys.modules.update(modules())
    try:
        yield
    finally:
        for name in modules():
            del sys.modules[name]


def modules():
    if not _MODULES:
        torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

        def _rebuild_tensor_v2(*_):
            raise AssertionError("only its name is written")

        _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
        utils._rebuild_tensor_v2 = _rebuild_tensor_v2
        torch._utils = utils
        for name in NAMES.values():
            setattr(torch, name, type(name, (), {"__module__": "torch"}))
        _MODULES.update({"torch": torch, "torch._utils": utils})
    return _MODULES


_MODULES = {}


class Pickler(pickle.Pickler):
    """Gives each storage a number and keeps its bytes."""

    def __init__(self, stream, legacy):
        super().__init__(stream, protocol=2)
        self.legacy, self.storages = legacy, {}

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        key = str(len(self.storages))
        self.storages[key] = value.values
        kind = getattr(modules()["torch"], NAMES[value.values.dtype.str[1:]])
        pid = ("storage", kind, key, "cpu", value.values.size)
        return (*pid, None) if self.legacy else pid


def torch_zip(content, order="little", **members):
    """The bytes of a file in the zip format; `members` replaces some of its members."""
    stream = io.BytesIO()
    with torch_modules():
        pickler = Pickler(stream, legacy=False)
        pickler.dump(content)
    files = {"data.pkl": stream.getvalue(), "byteorder": order.encode(), "version": b"3\n"}
    for key, values in pickler.storages.items():
        files[f"data/{key}"] = values.astype(values.dtype.newbyteorder("<" if order == "little" else ">")).tobytes()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in (files | members).items():
            archive.writestr(f"archive/{name}", data)
    return out.getvalue()


def torch_legacy(content):
    """The bytes of a file in the format that preceded the zip format."""
    parts = [TORCH_MAGIC, 1001, {"protocol_version": 1001, "little_endian": True}]
    out = b"".join(pickle.dumps(part, protocol=2) for part in parts)
    stream = io.BytesIO()
    with torch_modules():
        pickler = Pickler(stream, legacy=True)
        pickler.dump(content)
    out += stream.getvalue() + pickle.dumps(list(pickler.storages), protocol=2)
    for values in pickler.storages.values():
        out += values.size.to_bytes(8, "little") + values.tobytes()
    return out
