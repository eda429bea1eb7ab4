"""Reading and writing of files: other encodings, headers that contradict the file, full disks."""

import contextlib
import errno
import io
import os
import pathlib
import resource
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from ddjax.data import load, load_all
from ddjax.names import few, few_counts, shown
from ddjax.noise import label_files
from ddjax.storage import arrays as npy
from ddjax.storage import files, locks
from ddjax.storage import rows as results
from ddjax.storage.delimited import read_rows, read_text


@contextlib.contextmanager
def full_disk():
    """No file can grow: the error that a write meets has no path, as that of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.faults(11, "a disk that is full when a row is added", "the error names the file; no half row is left")
@pytest.mark.parametrize("size", [10, 100_000])
def test_a_row_that_finds_no_room_names_its_file(tmp_path, size):
    path = tmp_path / "results.jsonl"
    results.append(path, {"a": 1})
    with full_disk(), pytest.raises(OSError, match=r"the row was not added: '.*results\.jsonl'") as caught:
        results.append(path, {"a": "b" * size})
    assert caught.value.errno == errno.EFBIG and results.read(path) == [{"a": 1}]


def test_a_lock_on_a_full_disk_holds_and_ends_without_an_error(tmp_path):
    with full_disk(), locks.alone(tmp_path / "run.lock", "the run"), pytest.raises(locks.Held):  # noqa: SIM117
        with locks.alone(tmp_path / "run.lock", "the run"):
            pass


def test_a_file_that_finds_no_room_is_named(tmp_path):
    (tmp_path / "labels.csv").write_text("before")
    with full_disk(), pytest.raises(OSError, match=r"as it was: '.*labels\.csv'"):  # noqa: SIM117
        with files.replacing(tmp_path / "labels.csv", "w") as file:
            file.write("after")
    with pytest.raises(OSError, match=r"not written.*: '.*below/labels\.csv'"):  # noqa: SIM117
        with files.replacing(tmp_path / "labels.csv" / "below" / "labels.csv", "w"):
            pass
    assert os.listdir(tmp_path) == ["labels.csv"] and (tmp_path / "labels.csv").read_text() == "before"


def test_text_is_written_in_utf8_with_its_own_ends_of_lines(tmp_path):
    with files.replacing(tmp_path / "a.csv", "w") as file:
        file.write("Größe\r\n")
    assert (tmp_path / "a.csv").read_bytes() == "Größe\r\n".encode()


ENCODED = {
    "UTF-16": ("path,label\nä.png,1\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
    "UTF-32": ("path,label\n".encode("utf-32"), "is UTF-32 text; save it as UTF-8"),
    "UTF-16 without a mark": ("path,label\n".encode("utf-16-le"), "contains zero bytes"),
    "Latin-1": (
        "path,label\na.png,1\nä.png,2\n".encode("latin-1"),
        "line 3 is not UTF-8 text .byte 0xe4; perhaps Latin-1",
    ),
}


@pytest.mark.faults(7, "a .csv in UTF-16, UTF-32 or Latin-1", "refused by name, with the line and the way out")
@pytest.mark.parametrize("name", ENCODED)
@pytest.mark.parametrize("read", [load, load_all, label_files.read])
def test_other_encodings_are_named(tmp_path, name, read):
    data, message = ENCODED[name]
    (tmp_path / "list.csv").write_bytes(data)
    with pytest.raises(ValueError, match=rf"list\.csv.*{message}"):
        read(tmp_path / "list.csv")


def test_rows_know_their_lines(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbfpath, label\r\n\r\n"two\nlines", 1\r\nlast, "a,b"\r\n')
    assert read_text(tmp_path / "a.csv").startswith("path")
    assert read_rows(tmp_path / "a.csv") == [
        (1, ["path", "label"]),
        (3, ["two\nlines", "1"]),
        (5, ["last", "a,b"]),
    ]
    (tmp_path / "a.csv").write_text("id;label\n0;a,b\n")
    with pytest.raises(ValueError, match="separates its columns by ';': save it with commas"):
        read_rows(tmp_path / "a.csv")


def npz_of_zeros(path, shape, **arrays):
    """An .npz of a few KB whose images are zeros of this shape."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", head.getvalue() + bytes(int(np.prod(shape))))
    return path


HEADERS = {
    "other keys": ({"label": np.arange(4)}, (4, 2, 2), "it needs images . labels"),
    "other lengths": ({"labels": np.arange(3)}, (4, 2, 2), r"labels has shape \(3,\) beside images \(4, 2, 2\)"),
    "layout": ({"labels": np.arange(4)}, (4, 12), r"must have shape \[n h w c\]"),
    "channels first": ({"labels": np.arange(4)}, (4, 3, 2, 2), "channels first"),
    "labels of floats": ({"labels": np.arange(4.0)}, (4, 2, 2), "must hold integers from 0; got dtype float64"),
    "half a test set": ({"labels": np.arange(4), "test_labels": np.arange(2)}, (4, 2, 2), "only one of"),
}


@pytest.mark.faults(8, "an .npz that its headers show to be no data set", "refused before its numbers are read")
@pytest.mark.parametrize("case", HEADERS)
def test_an_npz_is_judged_by_its_headers(tmp_path, monkeypatch, case):
    arrays, shape, message = HEADERS[case]
    path = npz_of_zeros(tmp_path / "a.npz", shape, **arrays)
    monkeypatch.setattr(np.lib.format, "read_array", None)  # to call it would be a TypeError
    with pytest.raises(ValueError, match=message):
        load(path)
    if case != "half a test set":  # whose training arrays are all right
        with pytest.raises(ValueError, match=message):
            load_all(path)


def test_an_npz_beyond_the_memory_of_the_machine_is_refused(tmp_path, monkeypatch):
    path = npz_of_zeros(tmp_path / "a.npz", (1000, 10, 10), labels=np.arange(1000) % 2)
    monkeypatch.setattr(npy, "_memory", lambda: 99_999)
    with pytest.raises(ValueError, match=r"a\.npz is not a readable .*: 'images': it takes 0\.0 GiB, and this machine"):
        load(path)


def test_an_empty_variable_names_no_directory(monkeypatch):
    for name, folder in [("DDJAX_CACHE", files.cache_dir), ("TFDS_DATA_DIR", files.data_dir)]:
        monkeypatch.setenv(name, "")
        assert folder().is_relative_to(pathlib.Path.home())


@pytest.mark.parametrize("killed", [1, 2])
def test_a_folder_whose_replacement_was_killed_comes_back(tmp_path, monkeypatch, killed):
    """Killed at the first or the second of two renames."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").touch()
    renames, rename = [], os.rename

    def cut(*paths):
        renames.append(paths)
        if len(renames) == killed:
            raise KeyboardInterrupt
        rename(*paths)

    monkeypatch.setattr(os, "rename", cut)
    monkeypatch.setattr(files, "remove", lambda path: None)
    with pytest.raises(KeyboardInterrupt), files.replacing_folder(tmp_path / "run"):
        pass
    monkeypatch.undo()
    files.tidied(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "old"]


def test_arrays_without_entries_have_a_digest():
    empty = [np.zeros(shape, dtype) for shape in ((0, 2), (2, 0), ()) for dtype in (float, jnp.bfloat16)]
    assert len(set(map(files.array_digest, empty))) == 6


def test_only_the_named_arrays_are_read(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.arange(3), b=np.array(["x"]), **{"c/d": np.float64(2)})
    assert npy.npz_headers(tmp_path / "a.npz") == {"a": ((3,), "int64"), "b": ((1,), "<U1"), "c/d": ((), "float64")}
    assert npy.read_npz(tmp_path / "a.npz", {"a", "z"}).keys() == {"a"}
    assert npy.read_npz(tmp_path / "a.npz")["c/d"] == 2.0


NO_NPZ = {
    "text": (b"1,2,3\n", "it is not a zip archive, as numpy.savez writes"),
    "an .npy": (b"\x93NUMPY", "it is not a zip archive"),
    "a zip of text": ({"a.txt": b"hello"}, "'a.txt': it is not an array, as numpy.save writes"),
}


@pytest.mark.parametrize("case", NO_NPZ)
def test_what_is_no_npz_is_said_without_advice_to_unpickle(tmp_path, case):
    content, message = NO_NPZ[case]
    if isinstance(content, bytes):
        (tmp_path / "a.npz").write_bytes(content)
    else:
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    with pytest.raises(ValueError, match=message) as caught:
        npy.read_npz(tmp_path / "a.npz")
    assert "pickle" not in str(caught.value) and str(tmp_path / "a.npz") in str(caught.value)
    with pytest.raises(FileNotFoundError):
        npy.read_npz(tmp_path / "b.npz")


def test_names_are_shown_in_one_line():
    assert shown("a\nb\x1b[31m \udce9é 猫") == r"a\nb\x1b[31m \udce9é 猫"
    assert few(range(3)) == "0, 1, 2"
    assert few_counts(dict.fromkeys(range(10_000), 1)) == "{0: 1, 1: 1, 2: 1, 3: 1, 4: 1 and 9,995 more}"
    assert few(["a\n"] * 10_000, 2, "; ") == r"a\n; a\n and 9,998 more"


def test_the_commit_of_a_checkout_is_recorded():
    checkout = (pathlib.Path(__file__).parents[1] / ".git").exists()
    assert (results.commit() is not None) == checkout
