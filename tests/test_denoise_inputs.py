"""What features, predictions and files of labels must be: each mistake is one error that names it, before any work."""

import dataclasses
import json

import numpy as np
import pandas
import pytest

import ddjax
from ddjax.denoising import denoiser, tables
from ddjax.denoising.inputs import class_numbers, one_each
from ddjax.denoising.judging import Judgement
from ddjax.denoising.predictor import Plan
from ddjax.denoising.vectors import by_class

X, Y = np.random.default_rng(0).standard_normal((12, 3)), np.arange(12) % 2
P = np.tile([0.25, 0.75], (12, 1))


def changed(array, row, value):
    array = array.copy()
    array[row] = value
    return array


MISTAKES = [
    ("features must be numbers of shape .*got float64", {"features": X[0]}),
    ("features must be numbers.*replace columns of text", {"features": X.astype(str)}),
    ("the columns 'colour' are not numbers", {"features": pandas.DataFrame(X).assign(colour="red")}),
    ("features hold NaN, infinity.* in 2 of 12 rows, the first at row 3", {"features": changed(X, [3, 7], np.nan)}),
    ("features hold NaN, infinity or a number beyond float32 in 1", {"features": changed(X, 4, 1e60)}),
    (r"labels must be \[n\], one for each row of features \(11, 3\); got \(12,\)", {"features": X[:11]}),
    ("two classes or more", {"features": X, "labels": Y * 0}),
    ("without: 0, 2. Number the classes from 0", {"features": X, "labels": 2 * Y + 1}),
    *(
        ("cross-validation needs two examples of each class; 2 have one", case | {"labels": changed(Y, 0, 2)})
        for case in ({"features": X}, {"features": X, "method": "auto"})
    ),
    ("'auto' needs 3 examples or more; got 2", {"images": np.zeros((2, 4, 4)), "labels": [0, 1], "method": "auto"}),
    ("'knn' needs 11 examples or more; got 10", {"features": X[:10], "labels": Y[:10], "method": "knn"}),
    ("images must be one array, or a list of entries of one size", {"images": [np.zeros((4, 4)), np.zeros((5, 4))]}),
    (r"images must be an array \[n h w c\]; got array\('folder'.*: ddjax.data.load_all reads", {"images": "folder"}),
    ("features or pred_probs must be one array, or a list of", {"features": [[1], [1, 2]] * 6}),
    ("features hold NaN.* in 1 of 12 rows", {"features": np.ma.masked_values(changed(X, 3, -9), -9)}),
    ("labels hold masked entries: leave out", {"features": X, "labels": np.ma.masked_equal(Y, 1)}),
    ("all examples have the same features", {"features": X * 0, "method": "ridge"}),
    ("ids must have an entry for each of 12 examples; got array", {"features": X, "ids": "a"}),
    ("folds must be a whole number from 2 to 12; got 13", {"features": X, "folds": 13, "method": "prototypes"}),
    ("unknown option of method 'prototypes' 'kernel'.*'kernels'", {"features": X, "options": {"kernel": "rbf"}}),
    ("unknown kernel 'rbff'.*'rbf'", {"features": X, "options": {"kernels": "linear+rbff"}}),
    ("pred_probs must be non-negative and sum to 1.*row 5 sums to 1.5", {"pred_probs": changed(P, 5, [1, 0.5])}),
    ("pred_probs must be .*its least entry is -0.5: apply a softmax", {"pred_probs": changed(P, 2, [1.5, -0.5])}),
    ("pred_probs hold NaN", {"pred_probs": changed(P, 2, np.nan)}),
    (r"pred_probs must be floats of shape \[n k\]", {"pred_probs": np.ones((12, 1))}),
    ("labels holds class 3, first at row 0", {"pred_probs": P, "labels": Y + 2}),
    ("numbers written as text, whose order is 0, 1, 10", {"pred_probs": np.eye(12), "labels": [*map(str, range(12))]}),
    (
        "labels are 3 names, and pred_probs have 2 .*, or a table with these names as its header",
        {"pred_probs": P, "labels": np.array(["a", "b", "c"] * 4)},
    ),
    ("class_names must name each of the 2 columns", {"pred_probs": P, "class_names": ["a", "b", "c"]}),
    ("method='ridge' makes predictions; leave it out", {"pred_probs": P, "method": "ridge"}),
    ("takes one of images, features, pred_probs; got none of them", {}),
    ("takes one of .*; got features and pred_probs", {"features": X, "pred_probs": P}),
    ("labels are missing: pass labels=", {"features": X, "labels": None}),
    ("labels hold NaN, the first at index 3: leave out", {"features": X, "labels": changed(Y / 1.0, 3, np.nan)}),
    ("method='pred_probs' has no options; got", {"pred_probs": P, "options": {"steps": 3}}),
    ("method='auto' has no options", {"features": X, "method": "auto", "options": {"steps": 3}}),
    (
        "among them 1, and the columns of pred_probs are 0, 2: name each column after",
        {"pred_probs": pandas.DataFrame(P, columns=[0, 2])},
    ),
    (
        "the classes are cat, dog, and only some of the columns of pred_probs, dog, bird, are named",
        {"pred_probs": pandas.DataFrame(P, columns=["dog", "bird"]), "class_names": ["cat", "dog"]},
    ),
]


@pytest.mark.parametrize(("words", "given"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_a_mistake_is_named(words, given):
    usual = {"labels": Y} | ({"method": "prototypes"} if "features" in given and "pred_probs" not in given else {})
    with pytest.raises(ValueError, match=words):
        ddjax.denoise(**(usual | given))


def test_features_are_read_from_each_kind_of_file(tmp_path):
    np.save(tmp_path / "a.npy", X)
    np.savez(tmp_path / "a.npz", other=Y, features=X)
    table = pandas.DataFrame(X, columns=["height", "Weight", "age"]).assign(label=Y, id=range(12))
    table.to_parquet(tmp_path / "a.parquet")
    table.to_csv(tmp_path / "a.csv", index=False)
    assert isinstance(tables.read_table(tmp_path / "a.npy").values, np.memmap)
    for suffix in tables.SUFFIXES:
        np.testing.assert_allclose(tables.read_table(tmp_path / f"a{suffix}").values, X, rtol=1e-6)
    for suffix in (".csv", ".parquet"):
        found = tables.read_labels(tmp_path / f"a{suffix}")
        assert found.labels.tolist() == Y.tolist() and found.ids.tolist() == [str(i) for i in range(12)]
    assert tables.read_labels(tmp_path / "a.npz", "other").labels.tolist() == Y.tolist()


FILES = [
    ("has several columns 'b'", "a,b,b\n1,2,3\n"),
    ("the columns 'colour' are not numbers: encode them", "a,colour,label\n1,red,0\n2,blue,1\n"),
    ("none of which is a feature", "label,id\n0,1\n1,2\n"),
    *(("needs a header and rows", text) for text in ("", "a,b\n")),
    ("line 2 has 3 columns, and the header names 2", "a,b\n1,2,3\n"),
]


@pytest.mark.parametrize(("words", "text"), FILES, ids=[words for words, _ in FILES])
def test_a_table_that_holds_no_features_says_so(words, text, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        tables.read_table(tmp_path / "a.csv")


LABELS = [
    ("holds one, two; it needs label or labels or given or y: rename or choose one", "one,two\n1,2\n"),
    ("line 3 has 1 of 2 columns", "id,label\n1,cat\n2\n"),
    ("1 labels are empty, the first in row 1", "id,label\n1,cat\n2,\n"),
    ("labels -1, 1.0, 99999999999999999999 are not class numbers", "label\n0\n1.0\n-1\n99999999999999999999\n"),
    ("needs a header and rows", "id,label\n"),
    ("has no header, and its first line '3' is a label", "3\n0\n"),
    ("has no header, and its first line 'cat' is a label", "cat\ndog\ncat\n"),
    ("line 2 has 3 columns, and the header names 2", "id,label\n1,cat,3\n"),
]


@pytest.mark.parametrize(("words", "text"), LABELS, ids=[words for words, _ in LABELS])
def test_a_table_that_holds_no_labels_says_so(words, text, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        tables.read_labels(tmp_path / "a.csv")


def test_names_and_numbers_of_a_column(tmp_path):
    (tmp_path / "a.csv").write_text("label\n0\n1\n01\n")
    assert tables.read_labels(tmp_path / "a.csv").labels.tolist() == [0, 1, 1]
    (tmp_path / "a.csv").write_text("Label \ncat\n7\n")
    assert tables.read_labels(tmp_path / "a.csv").labels.tolist() == ["cat", "7"]
    (tmp_path / "a.csv").write_text("label\n2\n²\n")
    assert tables.read_labels(tmp_path / "a.csv").labels.tolist() == ["2", "²"]
    with pytest.raises(FileNotFoundError, match=r"gone\.npy does not exist"):
        tables.read_table(tmp_path / "gone.npy")
    with pytest.raises(ValueError, match="must be a file with one of the endings"):
        tables.read_table(tmp_path / "a.txt")
    (tmp_path / "b.npy").write_bytes(b"not an array")
    with pytest.raises(ValueError, match=r"is not a readable \.npy"):
        tables.read_table(tmp_path / "b.npy")


@pytest.mark.parametrize("missing", [None, np.nan, pandas.NA])
def test_a_missing_label_is_no_class(missing, tmp_path):
    pandas.DataFrame({"label": pandas.array(["a", missing, "b"], dtype=object)}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="1 labels are empty, the first in row 1"):
        tables.read_labels(tmp_path / "a.parquet")


def test_labels_of_a_parquet_are_read_as_those_of_a_csv(tmp_path):
    pandas.DataFrame({"label": [1, None, 0]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="1 labels are empty, the first in row 1"):
        tables.read_labels(tmp_path / "a.parquet")
    pandas.DataFrame({"ID": [7, 8], "Label": [True, False], "Text": ["x", "y"]}).to_parquet(tmp_path / "a.parquet")
    found = tables.read_labels(tmp_path / "a.parquet")
    assert [each.tolist() for each in found] == [["True", "False"], ["7", "8"], ["x", "y"]]


def test_a_data_frame_may_hold_several_kinds_of_numbers():
    frame = pandas.DataFrame(X).assign(old=Y > 0, rooms=pandas.array([*range(11), None], dtype="Int64"))
    found = tables.as_table(frame).values
    assert found.dtype == np.float64 and found[:11, 3:].tolist() == [[y, i] for i, y in enumerate(Y[:11])]
    np.testing.assert_array_equal(found[:, :3], X)
    assert np.isnan(found[11, 4])


def test_columns_that_are_no_features_are_left_out(tmp_path, caplog):
    """The number of the row, as pandas writes it, and the labels that are named."""
    pandas.DataFrame({"height": X[:, 0], "Target": Y, "y": Y}).to_csv(tmp_path / "a.csv")
    with caplog.at_level("INFO", "ddjax.denoising"):
        found = tables.read_table(tmp_path / "a.csv", labels="Target")
    assert found.columns == ("height",) and found.values.shape == (12, 1)
    assert "the columns '', 'Target', 'y' are left out" in caplog.text


def test_ids_that_several_examples_share_are_none(tmp_path, caplog):
    (tmp_path / "a.csv").write_text("id,file,label\n7,a,0\n7,b,1\n")
    assert tables.read_labels(tmp_path / "a.csv").ids.tolist() == ["a", "b"] and not caplog.text
    (tmp_path / "a.csv").write_text("id,label\n7,0\n7,1\n")
    assert tables.read_labels(tmp_path / "a.csv").ids is None and "entries of the columns id repeat" in caplog.text


def test_a_long_text_makes_no_other_longer(tmp_path):
    (tmp_path / "a.csv").write_text(f"text,label\n{'x' * 1000},0\ny,1\n")
    found = tables.read_labels(tmp_path / "a.csv").texts
    assert found.dtype == object and found.tolist() == ["x" * 1000, "y"]


def test_columns_of_predictions_are_found_by_name(tmp_path):
    frame = pandas.DataFrame(P, columns=["dog", "cat"])
    frame.to_csv(tmp_path / "a.csv")
    words = np.array(["dog", "cat"])[Y]
    for table in (tables.as_table(frame), tables.read_table(tmp_path / "a.csv")):
        values, _, names = by_class(table, words, None)
        assert names == ("dog", "cat") and values[0, 0] == 0.25
        assert by_class(table, Y, ["cat", "dog"])[0][0, 0] == 0.75
        assert by_class(table, Y, None)[2] is None and by_class(table, Y, ["a", "b"])[0][0, 0] == 0.25
    for given in (words.astype("S"), [word.encode() for word in words.tolist()]):
        assert by_class(tables.as_table(frame), given, None)[2] == ("dog", "cat")
    exchanged = tables.as_table(pandas.DataFrame(P, columns=[1, 0]))
    for given in (Y, Y.astype(object)):
        for names in (None, ["a", "b"]):
            assert by_class(exchanged, given, names)[0][0].tolist() == [0.75, 0.25]
    counted = pandas.DataFrame(P, columns=[7, 3])
    assert ddjax.denoise(pred_probs=counted, labels=np.array([7, 3])[Y]).class_names == ("7", "3")
    for found in (frame, tmp_path / "a.csv"):
        with pytest.raises(ValueError, match=r"labels \['cow'\] are not in class_names \['dog', 'cat'\]"):
            ddjax.denoise(pred_probs=found, labels=np.where(Y, "cow", "cat"))


def test_a_class_may_be_called_like_a_column_of_labels(tmp_path):
    for names in (["y", "n"], ["Image", "text"]):
        pandas.DataFrame({"id": range(12), **dict(zip(names, P.T, strict=True))}).to_csv(tmp_path / "a.csv")
        found = tables.read_table(tmp_path / "a.csv", tables.PRED_PROBS)
        assert found.columns == tuple(names) and by_class(found, np.array(names)[Y], None)[2] == tuple(names)
    pandas.DataFrame({"a": P[:, 0], "b": P[:, 1], "y": Y, "image": Y * 1.0}).to_csv(tmp_path / "a.csv")
    assert tables.read_table(tmp_path / "a.csv", tables.PRED_PROBS).columns == ("a", "b")


@pytest.mark.parametrize("kind", [object, "S", None])
def test_labels_may_be_bytes_and_text_of_any_kind(kind):
    words = [["né".encode(), b"b"][y] for y in Y]
    given = words if kind is None else np.array(words, kind)
    numbers, names = class_numbers(one_each(given, 12, "row"), None)
    assert names == ("b", "né") and numbers.tolist() == (1 - Y).tolist()
    assert one_each(np.array(["né", "b"], np.dtypes.StringDType()), 2, "row").tolist() == ["né", "b"]


def test_numbers_of_numpy_are_kept_as_those_of_python():
    plan = Plan("dance", options={"steps": np.int64(3), "rate": np.float32(0.5)})
    assert json.dumps(dataclasses.asdict(plan)["options"]) == '{"steps": 3, "rate": 0.5}'


def test_predictions_that_say_nothing_are_told(caplog, monkeypatch):
    found = Judgement(dict.fromkeys(("posterior", "margin"), 0.2 + 0.6 * Y), Y / 1.0, P, Y > 0, 1.0, 0.5)
    monkeypatch.setattr(denoiser, "judge", lambda *asked, **options: found)
    with caplog.at_level("WARNING", "ddjax.denoising"):
        ddjax.denoise(pred_probs=P, labels=Y)
    assert "agree with 50 % of the labels, and the most common label alone with 50 %" in caplog.text
