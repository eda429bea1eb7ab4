"""The files of a denoise report: cleaned copies of each kind of source, and identical examples."""

import dataclasses
import json
import pathlib
import zipfile

import numpy as np
import pytest
import reports
from PIL import Image

from ddjax.data import load_all
from ddjax.data.identical import first_rows
from ddjax.denoising import DenoiseReport
from experiments import denoise as command
from experiments.denoising import running, writing
from experiments.denoising.gallery import gallery
from experiments.denoising.reading import Task, output_of, read
from experiments.denoising.settings import Settings
from experiments.display.progress import View


def report_on(dataset, flagged, suggested):
    given = np.asarray(dataset.labels)
    ids = np.arange(len(given)).astype(str) if dataset.keys is None else dataset.keys
    truth = np.eye(dataset.num_classes)[np.where(flagged, suggested, given)]
    same_as = first_rows(dataset.images)
    return reports.report_on(ids, given, flagged.astype(float), truth, dataset.class_names, same_as=same_as)


def judged_from(path, dataset):
    task = Task(dataset.name, {"images": dataset.images}, dataset.labels, None, dataset.class_names, dataset=dataset)
    return task, Settings(data=str(path))


def test_a_label_without_a_name_is_refused(tmp_path):
    images, labels = np.zeros((6, 4, 4), np.uint8), np.array([0, 0, 1, 1, 5, 5])
    np.savez(tmp_path / "mine.npz", images=images, labels=labels, class_names=["a", "b"])
    with pytest.raises(ValueError, match="mine labels holds class 5, first at row 4, but there are 2 classes"):
        load_all(tmp_path / "mine.npz", least=2)


def test_an_npz_comes_back_with_its_labels_changed(tmp_path):
    ids = np.array([7, 3, 5, 1, 9])
    arrays = {"x_train": np.zeros((5, 4, 4), np.uint8), "y_train": np.array([[0], [1], [0], [1], [0]]), "ids": ids}
    arrays |= {"x_test": np.ones((2, 4, 4), np.uint8), "y_test": np.array([0, 1])}
    arrays["file"] = np.array(["a.png"])  # as the first argument of numpy.savez
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.save(member, array)
    dataset = load_all(tmp_path / "mine.npz")
    assert dataset.ids.tolist() == [1, 3, 5, 7, 9] and dataset.labels.tolist() == [1, 1, 0, 0, 0]
    report = report_on(dataset, np.array([False, True, False, False, True]), np.array([0, 0, 0, 0, 1]))
    path = writing.write_cleaned(report, *judged_from(tmp_path / "mine.npz", dataset), tmp_path / "out")
    with np.load(path) as found:
        assert found["y_train"][:, 0].tolist() == [0, 0, 0, 1, 1] and found["y_test"].tolist() == [0, 1]
        np.testing.assert_array_equal(found["ids"], ids)
        assert set(found) == set(arrays)


def test_the_labels_of_images_that_were_not_judged_stay(tmp_path):
    """Rows of features are those of the file, whose images are loaded in the order of their ids."""
    ids, images = np.array([7, 3, 5, 1, 9]), np.zeros((5, 4, 4), np.uint8)
    images += np.arange(5, dtype=np.uint8)[:, None, None]
    images[:, 3, 3] = 255
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(5) % 2, ids=ids)
    np.save(tmp_path / "x.npy", np.arange(5.0)[:, None])
    settings = Settings(data=str(tmp_path / "mine.npz"), features=tmp_path / "x.npy", limit=3)
    task = read(settings, {}, 0.0, View(quiet=True))
    assert task.evidence["features"][:, 0].tolist() == task.images[:, 0, 0, 0].tolist() == [3, 1, 2]
    report = report_on(task.dataset, np.array([True, False, False]), np.zeros(3, int))
    with np.load(writing.write_cleaned(report, task, settings, tmp_path / "out")) as found:
        assert found["labels"].tolist() == [0, 1, 0, 0, 0]


def test_a_csv_comes_back_with_its_columns(tmp_path):
    (tmp_path / "in").mkdir()
    lines = ["path, label, who"]
    for i in range(6):
        Image.fromarray(np.full((4, 4), 40 * i, np.uint8)).save(tmp_path / "in" / f"{i}.png")
        lines.append(f"{i}.png, {'cat' if i % 2 else 'dog'}, ann")
    (tmp_path / "in" / "labels.csv").write_text("\n".join([*lines, "gone.png, cat, bob"]))
    dataset = load_all(tmp_path / "in" / "labels.csv")
    assert len(dataset.images) == 6 and dataset.provenance["skipped"][0].startswith("gone.png: FileNotFoundError")
    report = report_on(dataset, np.arange(6) == 4, np.zeros(6, int))
    path = writing.write_cleaned(report, *judged_from(tmp_path / "in" / "labels.csv", dataset), tmp_path / "out")
    rows = reports.read_csv(path)
    assert [row["label"] for row in rows] == ["dog", "cat", "dog", "cat", "cat", "cat", "cat"]
    assert [row["who"] for row in rows] == ["ann"] * 6 + ["bob"] and rows[0]["path"] == "../in/0.png"
    assert load_all(path).labels.tolist() == [1, 0, 1, 0, 0, 0]


def test_a_folder_is_read_whole(tmp_path):
    for place in ("train/a/1.png", "train/b/2.png", "test/a/3.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / place)
    found = load_all(tmp_path)
    assert found.keys.tolist() == ["train/a/1.png", "train/b/2.png", "test/a/3.png"] and len(found.test_images) == 0
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="no readable image files"):
        load_all(tmp_path)


def test_pictures_with_several_labels_are_listed(tmp_path):
    for name, level in {
        "cat/1": 1,
        "cat/2": 2,
        "dog/3": 1,
        "dog/4": 4,
        "newt\n/5": 4,
        "newt\n/6": 6,
        "newt\n/7": 6,
    }.items():
        place = tmp_path / "in" / f"{name}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), level, np.uint8)).save(place)
    (tmp_path / "in" / "cat" / "link.png").symlink_to(tmp_path / "in" / "dog" / "3.png")
    dataset = load_all(tmp_path / "in")
    report = report_on(dataset, np.zeros(8, bool), np.zeros(8, int))
    assert [dataset.keys[rows].tolist() for rows in report.conflicts] == [
        ["cat/1.png", "cat/link.png", "dog/3.png"],
        ["dog/4.png", "newt\n/5.png"],
    ]
    lines = report.report().splitlines()
    at = lines.index("identical examples with several labels: 2")
    assert lines[at + 1 : at + 3] == [
        "  cat/1.png (cat), cat/link.png (cat), dog/3.png (dog)",
        r"  dog/4.png (dog), newt\n/5.png (newt\n)",
    ]
    assert "identical examples with several labels: 2, the first 1 of them" in report.report(most=1)
    writing.write_conflicts(report, tmp_path / "conflicts.csv")
    rows = [list(row.values()) for row in reports.read_csv(tmp_path / "conflicts.csv")]
    assert rows == [
        ["1", "cat/1.png", "cat"],
        ["1", "cat/link.png", "cat"],
        ["1", "dog/3.png", "dog"],
        ["2", "dog/4.png", "dog"],
        ["2", "newt\n/5.png", "newt\n"],
    ]
    page = gallery(report, dataset.images, None, "title", [], 1)
    assert '<section id="conflicts">' in page and "2 identical examples</a> with several labels" in page
    assert (
        page.partition('id="conflicts"')[2].count("<code>") == 3 and "the first 1 of 2; conflicts.csv lists all" in page
    )
    assert DenoiseReport.load(report.save(tmp_path / "kept")).conflicts[1].tolist() == report.conflicts[1].tolist()


@pytest.mark.parametrize(
    ("door", "methods"),
    [
        pytest.param("features", ["prototypes", "ridge", "knn"], marks=pytest.mark.slow),
        ("pred_probs", ["pred_probs", "argmax"]),
    ],
)
def test_noise_is_added_to_labels_from_a_file(tmp_path, capsys, door, methods):
    rng = np.random.default_rng(0)
    truth = np.arange(120) % 3
    scores = rng.standard_normal((120, 3)) + 6 * np.eye(3)[truth]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.save(tmp_path / "x.npy", scores if door == "features" else shares)
    (tmp_path / "y.csv").write_text("label\n" + "\n".join("abc"[c] for c in truth))
    how = {"noise": "symmetric", "rate": 0.2, "compare": True, "out": tmp_path / "out"}
    files = {door: tmp_path / "x.npy", "labels": tmp_path / "y.csv"}
    method = None if door == "pred_probs" else "prototypes"
    assert command.denoise(command.Settings(**files, method=method, **how)) == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "detection.jsonl").read_text().splitlines()]
    assert [row["method"] for row in rows] == methods
    assert {row["noise_rate"] for row in rows} == {rows[0]["noise_rate"]} and 0.1 < rows[0]["noise_rate"] < 0.3
    assert all(row["auroc"] > 0.95 for row in rows) and rows[0]["corrected_acc"] > 0.95
    assert "argmax" in capsys.readouterr().out or door == "features"


def test_a_csv_of_images_takes_no_choice_of_columns(tmp_path):
    (tmp_path / "a.csv").write_text("path,label,other\n1.png,0,1\n")
    settings = Settings(data=str(tmp_path / "a.csv"), method="ridge", label_column="other")
    with pytest.raises(ValueError, match=r"--label-column choose in a folder of the package .*a\.csv is not"):
        read(settings, {}, 0.0, View(quiet=True))


def test_several_classes_of_one_name_are_refused(tmp_path):
    arrays = {"images": np.zeros((6, 4, 4), np.uint8), "labels": np.arange(6) % 3}
    np.savez(tmp_path / "a.npz", **arrays, class_names=["crane", "dog", "crane"])
    with pytest.raises(ValueError, match=r"several classes of .*a\.npz are called crane: give each a name of its own"):
        read(Settings(data=str(tmp_path / "a.npz"), method="ridge"), {}, 0.0, View(quiet=True))


def test_the_output_may_lie_in_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert output_of(Settings(out=pathlib.Path("~/out")), "mine") == tmp_path / "out"


def test_the_output_replaces_no_input(tmp_path):
    (tmp_path / "labels.csv").write_text("label\n0\n1\n")
    np.save(tmp_path / "x.npy", np.eye(2))
    with pytest.raises(ValueError, match=r"labels.csv is read, and the output would replace it: .* --out"):
        settings = Settings(features=tmp_path / "x.npy", labels=tmp_path / "labels.csv", out=tmp_path)
        read(settings, {}, 0.0, View(quiet=True))
    assert (tmp_path / "labels.csv").read_text() == "label\n0\n1\n"


def test_the_files_of_an_earlier_run_do_not_stay_beside_those_of_another(tmp_path):
    """A first run on an .npz with exports and noise, then one on labels alone; the user's own files stay."""
    out, labels = tmp_path / "out", np.arange(4) % 2
    np.savez(tmp_path / "mine.npz", images=np.zeros((4, 4, 4), np.uint8), labels=labels)
    dataset = load_all(tmp_path / "mine.npz")
    report = report_on(dataset, labels == 1, 1 - labels)
    task, settings = judged_from(tmp_path / "mine.npz", dataset)
    running.write(report, task, dataclasses.replace(settings, export=("labelstudio", "cleanlab")), out)
    assert {"cleaned.npz", "label_studio.json", "issues.parquet"} <= {path.name for path in out.iterdir()}
    (out / "detection.jsonl").touch()
    for name in ("notes.txt", "distilled.npz"):  # of the user, and of another command
        (out / name).touch()
    running.write(report, Task("other", {}, labels, None, None), Settings(method="ridge"), out)
    always = {"labels.csv", "cleaned.csv", "conflicts.csv", "skipped.txt", "gallery.html", "report.npz", "report.json"}
    assert {path.name for path in out.iterdir()} == always | {"notes.txt", "distilled.npz"}


def test_a_folder_without_a_report_is_not_cleared(tmp_path):
    (tmp_path / "hf").mkdir()
    for name in ("detection.jsonl", "hf/dataset_info.json"):
        (tmp_path / name).write_text("{}")
    writing.clear(tmp_path)
    (tmp_path / "report.json").write_text('{"format": "ddjax-denoise-report", "has_distilled": false}')
    assert (tmp_path / "detection.jsonl").exists()
    writing.clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


@pytest.mark.parametrize("part, out", [("", ""), ("", "new/er"), ("train", "train/new"), ("train", None), ("", ".new")])
def test_the_output_is_no_class(tmp_path, part, out):
    for name in ("a", "b"):
        (tmp_path / part / name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / part / name / "1.png")
    settings = Settings(data=str(tmp_path), method="ridge", out=tmp_path if out is None else tmp_path / out)
    if out in (None, ".new"):  # beside the part, or hidden
        assert len(read(settings, {}, 0.0, View(quiet=True)).given) == 2
        return
    with pytest.raises(ValueError, match=r"the output folder .* lies in .*, whose folders are classes: .* --out"):
        read(settings, {}, 0.0, View(quiet=True))
