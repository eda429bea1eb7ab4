"""Data sets in .npz and .csv files."""

import numpy as np
import pytest
from image_files import npz, pets, write_csv

from ddjax.data import load, load_all


@pytest.fixture
def folder(tmp_path):
    return pets(tmp_path / "pets")


@pytest.mark.parametrize("keys", ["x_train y_train x_test y_test", "train_images train_labels test_images test_labels"])
def test_npz_keys(tmp_path, cache, keys):
    with np.load(npz(tmp_path / "plain.npz")) as file:
        np.savez(tmp_path / "named.npz", **dict(zip(keys.split(), [file[k] for k in file.files], strict=True)))
    plain, named = load(tmp_path / "plain.npz"), load(tmp_path / "named.npz")
    assert plain.provenance["digest"] == named.provenance["digest"]
    assert plain.ids.tolist() == list(range(40))


def test_npz_without_a_test_set_keeps_row_numbers(tmp_path, cache):
    dataset = load(npz(tmp_path / "a.npz", test_images=None, test_labels=None))
    np.testing.assert_array_equal(dataset.images[:, 0, 0, 0], dataset.ids)
    np.testing.assert_array_equal(dataset.labels, dataset.ids % 4)
    rows = np.concatenate([dataset.ids, dataset.test_images[:, 0, 0, 0]])
    assert sorted(rows) == list(range(40))


def test_npz_ids_and_class_names(tmp_path, cache):
    dataset = load(npz(tmp_path / "a.npz", ids=np.arange(40)[::-1], class_names=np.array(list("wxyz"))))
    np.testing.assert_array_equal(dataset.images[:, 0, 0, 0], 39 - dataset.ids)
    assert dataset.class_names == tuple("wxyz")
    written = npz(tmp_path / "b.npz", class_names=np.array(["ä".encode(), b"x", b"y", b"z"]))
    column = npz(tmp_path / "c.npz", class_names=np.array(list("wxyz"))[:, None])
    for read in (load, load_all):
        assert read(written).class_names == tuple("äxyz")
        with pytest.raises(ValueError, match=r"class_names must be \[k\], a name for each class; got shape \(4, 1\)"):
            read(column)


@pytest.mark.parametrize("named", [True, False])
def test_csv(folder, cache, named):
    def label(i):
        return ["zebra", "ant"][i % 2] if named else str(i % 2)

    rows = [f"cat/{i}.png, {label(i)}" for i in range(60)]
    dataset = load(write_csv(folder, rows, header="file, label"))
    np.testing.assert_array_equal(dataset.images[:, 0, 0, 1], dataset.ids)
    np.testing.assert_array_equal(dataset.labels, (dataset.ids + named) % 2)
    assert dataset.class_names == (("ant", "zebra") if named else ("0", "1"))


def test_csv_with_a_split(folder, cache):
    rows = [f"cat/{i}.png,{i % 2},{'test' if i < 10 else 'train'}" for i in range(60)]
    dataset = load(write_csv(folder, rows, header="path,label,split"))
    assert dataset.ids.tolist() == list(range(10, 60))
    assert len(dataset.test_images) == 10


CSV_FAULTS = {  # others are in doors_data.py
    "columns": (["cat/1.png,0"], "name,label", "path or image or file"),
    "empty": ([], "path,label", "no rows"),
    "float labels": ([f"cat/{i}.png,{i % 2}.5" for i in range(60)], "path,label", r"line 2: label '0\.5' is not a"),
    "a number and NaN": (["cat/1.png,1", "", "cat/2.png,nan"], "path,label", r"line 4: label 'nan' is not a class"),
    "negative": (["cat/1.png,0", "cat/2.png,-1"], "path,label", "line 3: label '-1' is not a class number"),
    "a day": (["cat/1.png,0", "cat/2.png,20240101"], "path,label", "holds class 20240101 among 2 labels"),
    "extra columns": (["cat/1.png,0", "cat/2.png,0,1"], "path,label", "line 3 has 3 columns, and the header names 2"),
    "a column twice": (["cat/1.png,0,1"], "path,label,label", "several columns 'label'"),
    "two labels": (
        ["cat/1.png,a", "cat/./1.png,b"],
        "path,label",
        r"line 3: 'cat/\./1\.png' has .* 'b'.*'a' in line 2",
    ),
    "two splits": (
        ["cat/1.png,0,train", "cat/1.png,0,test"],
        "path,label,split",
        "split 'test', and 'train' in line 2",
    ),
    "an open quote": (["cat/1.png,0", '"cat/2.png,1', "cat/3.png,1"], "path,label", "line 3: unexpected end of data"),
    "split": (["cat/1.png,0,valid"], "path,label,split", "'valid', not train or test"),
}


@pytest.mark.parametrize("case", CSV_FAULTS)
def test_csv_faults(folder, cache, case):
    rows, header, message = CSV_FAULTS[case]
    with pytest.raises(ValueError, match=message):
        load(write_csv(folder, rows, header))
