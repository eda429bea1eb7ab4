"""Files as bytes, damage to them, also as hypothesis draws it, and manifests changed on purpose."""

import io
import json

import numpy as np
from hypothesis import strategies as st

from ddjax.storage.manifest import seal


def damaged(*originals):
    """One of the files with a few bytes changed, put in, left out, or its end cut off; or bytes out of nothing."""
    return st.one_of(st.sampled_from(originals).flatmap(_mutations), st.binary(max_size=200))


def _mutations(original):
    place = st.integers(0, max(len(original) - 1, 0))
    change = st.one_of(
        st.tuples(st.just("put"), place, st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("over"), place, st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("out"), place, st.integers(1, 40)),
        st.tuples(st.just("cut"), place, st.just(0)),
        st.tuples(st.just("twice"), place, st.integers(1, 200)),
    )
    return st.lists(change, min_size=1, max_size=4).map(lambda changes: _applied(original, changes))


def _applied(data, changes):
    for kind, at, what in changes:
        if kind == "put":
            data = data[:at] + what + data[at:]
        elif kind == "over":
            data = data[:at] + what + data[at + len(what) :]
        elif kind == "out":
            data = data[:at] + data[at + what :]
        elif kind == "cut":
            data = data[:at]
        else:
            data = data[: at + what] + data[at:]
    return data


def flip(path):
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def sealed(manifest):
    """A manifest with a seal that fits its content."""
    plain = {name: value for name, value in manifest.items() if name != "seal"}
    return plain | {"seal": seal(plain)}


def resealed(path, **fields):
    """Change fields of a manifest file (`...` removes one), and make its seal fit."""
    changed = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps(sealed({name: value for name, value in changed.items() if value is not ...})))


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()
