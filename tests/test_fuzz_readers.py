"""Randomly damaged files: a reader returns the content or raises a ValueError, and runs no code from the file."""

import io
import json
import pickle
import pickletools
import zipfile

import fuzzing
import numpy as np
import pytest
from fuzzing import npy, npz
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_files import torch_legacy as legacy
from torch_files import torch_zip

from ddjax.data import load
from ddjax.denoising import DenoiseReport
from ddjax.distilled.saving import load_distilled
from ddjax.noise import label_files
from ddjax.noise.human import read_human
from ddjax.noise.transition import load_matrix
from ddjax.storage import manifest
from ddjax.storage.arrays import read_npz
from ddjax.storage.files import sha256

TRIED = settings(max_examples=150, deadline=None)
TABLE = {"clean_label": np.arange(20) % 10, "worse_label": np.arange(20) % 7, "aggre_label": list(range(10)) * 2}
RAN = []


def run():
    RAN.append("the payload")


class Trap:
    """Runs code if it is unpickled as pickle would."""

    def __reduce__(self):
        return run, ()


LABELS = {
    ".pt": [torch_zip(TABLE), legacy(TABLE), pickle.dumps(TABLE, protocol=5), torch_zip({"x": Trap()}), legacy(Trap())],
    ".npy": [npy(np.arange(30)), npy(np.array(TABLE, object)), npy(np.array([Trap()], object))],
    ".csv": [b"clean_label,worse_label\n1,2\n3,4\n", b"1\n2\n3\n", b"\xef\xbb\xbfa,b\n1,2\n"],
}


def tried(path, data, read, allowed=(ValueError,)):
    """Read a file of these bytes; errors of other kinds are the test's failure, and so is a payload that ran."""
    path.write_bytes(data)
    RAN.clear()
    try:
        return read(path)
    except allowed as error:
        assert str(error)
        return None
    finally:
        assert not RAN


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def test_the_trap_works():
    RAN.clear()
    pickle.loads(pickle.dumps(Trap()))
    assert RAN


@pytest.mark.faults(10, "label files (.pt, .npy, .csv) damaged at random", "labels or a ValueError; nothing is run")
@pytest.mark.parametrize("suffix", LABELS)
def test_label_files(suffix, folder):
    @TRIED
    @given(fuzzing.damaged(*LABELS[suffix]))
    def one(data):
        found = tried(folder / f"labels{suffix}", data, label_files.read)
        assert found is None or isinstance(found, dict) or found.dtype.kind in "iu"

    one()


CODES = [code.code.encode("latin1") for code in pickletools.opcodes]


@pytest.mark.faults(10, "pickles of random opcodes", "labels or a ValueError; nothing is run")
def test_pickles_of_random_opcodes(folder):
    words = st.one_of(
        st.sampled_from(CODES),
        st.sampled_from(
            [
                b"cos\nsystem\n",
                b"c__builtin__\neval\n",
                b"(S'x'\n",
                b"i__main__\nX\n",
                b"K\x01",
                b"]",
                b"}",
                b"\x85R",
                b"o",
            ]
        ),
        st.binary(max_size=4),
    )

    @TRIED
    @given(st.lists(words, max_size=25).map(lambda parts: b"\x80\x02" + b"".join(parts) + b"."))
    def one(data):
        tried(folder / "codes.pt", data, label_files.read)

    one()


@pytest.mark.faults(10, "CIFAR-N tables damaged at random", "labels or a ValueError")
def test_annotations(folder):
    @TRIED
    @given(fuzzing.damaged(torch_zip(TABLE), legacy(TABLE)))
    def one(data):
        tried(folder / "CIFAR-10_human.pt", data, lambda path: read_human(path, "cifar10"))

    one()


IMAGES = np.zeros((10, 4, 4, 3), np.uint8)
DATA = npz(images=IMAGES, labels=np.arange(10) % 2, test_images=IMAGES[:4], test_labels=np.arange(4) % 2)


@pytest.mark.faults(8, "an .npz of images damaged at random", "a data set or a ValueError")
def test_npz_of_images(folder):
    @TRIED
    @given(fuzzing.damaged(DATA, npz(x_train=np.array([{}], object), y_train=np.arange(1))))
    def one(data):
        tried(folder / "data.npz", data, lambda path: load(path, cache_dir=folder / "cache"))

    one()


@pytest.mark.faults(7, "a .csv of images and labels damaged at random", "a data set, or an error that says why not")
def test_csv_of_images(folder):
    from PIL import Image

    for i in range(3):
        Image.new("L", (4, 4)).save(folder / f"{i}.png")
    text = b"path,label,split\n0.png,0,train\n1.png,1,train\n2.png,0,test\n"

    @settings(max_examples=60, deadline=None)
    @given(fuzzing.damaged(text))
    def one(data):
        tried(folder / "a.csv", data, lambda path: load(path, cache_dir=folder / "cache"), (ValueError, OSError))

    one()


def test_matrices(folder):
    @TRIED
    @given(
        fuzzing.damaged(npy(np.eye(3)), npy(np.array([Trap()], object))),
        st.sampled_from([".npy", ".csv"]),
    )
    def one(data, suffix):
        tried(folder / f"matrix{suffix}", data, lambda path: load_matrix(path, 3))

    one()


@pytest.mark.faults(12, "a distilled file damaged at random, its checksum made to fit", "a set or a ValueError")
def test_distilled_sets(folder):
    import jax.numpy as jnp

    from ddjax.distilled import DistilledSet
    from ddjax.distilled.saving import save_distilled

    made = DistilledSet(images=jnp.zeros((2, 4, 4, 1)), labels=jnp.arange(2), num_classes=2, space="x")
    path = save_distilled(made, folder / "set")
    side = json.loads(path.with_suffix(".json").read_text())
    older = {name: value for name, value in side.items() if name not in ("files", "seal")}
    older |= {"schema": 1, "sha256": sha256(path)}
    whole = path.read_bytes()

    texts = [json.dumps(meta).encode() for meta in (side, older)]

    @TRIED
    @given(fuzzing.damaged(whole), fuzzing.damaged(*texts), st.booleans())
    def one(arrays, text, in_arrays):
        path.write_bytes(arrays if in_arrays else whole)
        vouched = {"arrays": {"bytes": len(arrays), "sha256": sha256(path)}}
        described = json.dumps(fuzzing.sealed(side | {"files": vouched})).encode() if in_arrays else text
        tried(path.with_suffix(".json"), described, lambda _: load_distilled(path))

    one()


def test_reports(folder):
    @settings(max_examples=60, deadline=None)
    @given(fuzzing.damaged(b'{"format": "ddjax-denoise-report", "schema": 2, "sha256": ""}'))
    def one(data):
        (folder / "report.npz").write_bytes(DATA)
        tried(folder / "report.json", data, lambda path: DenoiseReport.load(path.parent))

    one()


@pytest.mark.faults(
    4,
    "files of arrays and their manifest damaged at random",
    "known as damaged, or exactly what was written",
)
def test_arrays_with_a_manifest(folder):
    place = folder / "step-000000001"
    kind = manifest.Kind("format", 1, "a record")
    manifest.save(place / "record", kind, {"x": np.arange(5.0)}, {"loss": 1.0})
    files = {path.name: path.read_bytes() for path in place.iterdir()}

    @TRIED
    @given(st.sampled_from(sorted(files)).flatmap(lambda name: st.tuples(st.just(name), fuzzing.damaged(files[name]))))
    def one(drawn):
        name, data = drawn
        for each, whole in files.items():
            (place / each).write_bytes(data if each == name else whole)
        try:
            found, _ = manifest.load(place / "record", kind)
        except manifest.Damaged:
            return
        assert data == files[name] or json.loads(data) == json.loads(files[name])
        np.testing.assert_array_equal(found["x"], np.arange(5.0))

    one()


def test_a_vector_that_promises_terabytes_takes_none(folder):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<i8", "fortran_order": False, "shape": (1 << 40,)})
    (folder / "huge.npy").write_bytes(stream.getvalue() + b"12345678")
    with pytest.raises(ValueError, match=r"announces 8796093022208 bytes of numbers, but it holds 8"):
        label_files.read(folder / "huge.npy")


def test_an_array_that_promises_terabytes_takes_none(folder):
    head = {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)}
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, head)
    with zipfile.ZipFile(folder / "huge.npz", "w") as archive:
        archive.writestr("x.npy", stream.getvalue())
    with pytest.raises(ValueError, match=r"huge\.npz is not a readable \.npz"):
        read_npz(folder / "huge.npz")
