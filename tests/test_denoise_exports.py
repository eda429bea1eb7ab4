"""Findings handed over to other tools, and decisions of a person applied."""

import csv
import dataclasses
import json
import os
import pathlib
import xml.etree.ElementTree

import numpy as np
import pandas
import pytest
import reports
from PIL import Image

from ddjax.data import load_all
from ddjax.data.identical import first_rows
from experiments import denoise as command
from experiments.denoising import settings
from experiments.denoising.decisions import COLUMNS, decided
from experiments.denoising.exports import EXPORTS, Found, check
from experiments.denoising.gallery import gallery
from experiments.denoising.reading import Task, output_of
from experiments.denoising.settings import Settings


def report_on(given, ids, names):
    """Labels of which every third is flagged, with the next class as its suggestion."""
    n, k = len(given), len(names)
    flagged = np.arange(n) % 3 == 0
    wrong = np.where(flagged, 0.9, 0.1).astype(np.float32)
    truth = np.full((n, k), 0.1 / k, np.float32)
    truth[np.arange(n), (given + 1) % k] += np.where(flagged, 0.8, 0.1)
    truth[np.arange(n), given] += 0.9 - np.where(flagged, 0.8, 0.1)
    return reports.report_on(ids, given, wrong, truth, names)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("export") / "pictures"
    for number in range(9):
        place = root / ("cat" if number % 2 else "d & g") / f"p {number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 6, 3), 20 * number, np.uint8)).save(place)
    dataset = load_all(root)
    images, keys = dataset.images, dataset.keys
    task = Task("pictures", {"images": images}, dataset.labels, keys, dataset.class_names, images, dataset=dataset)
    assert len(set(first_rows(images))) == 9
    return Found(report_on(dataset.labels, keys, dataset.class_names), task, Settings(data=str(root)))


@pytest.fixture(scope="module")
def texts():
    given, ids = np.arange(6) % 2, np.array([f"mail {i}" for i in range(6)])
    words = np.array([f"text {i} <b>" for i in range(6)])
    task = Task("mails", {"features": np.zeros((6, 2))}, given, ids, None, texts=words)
    return Found(report_on(given, ids, ("ham", "spam")), task, Settings())


def test_label_studio_tasks_name_files_and_suggestions(pictures, texts, tmp_path):
    tasks = json.loads(EXPORTS["labelstudio"](pictures, tmp_path).read_text())
    assert len(tasks) == 9 and [task["data"]["flagged"] for task in tasks] == [True] * 3 + [False] * 6
    assert tasks[0]["data"]["image"].startswith("/data/local-files/?d=pictures/")
    [said], [given] = (tasks[0]["predictions"][0]["result"], tasks[0]["annotations"][0]["result"])
    assert said["value"]["choices"] != given["value"]["choices"] and 0 < tasks[0]["predictions"][0]["score"] <= 1
    view = xml.etree.ElementTree.parse(tmp_path / "label_studio.xml").getroot()
    assert {choice.get("value") for choice in view.iter("Choice")} == {"cat", "d & g"}
    assert view.find("Choices").get("toName") == view.find("Image").get("name") == said["to_name"]
    tasks = json.loads(EXPORTS["labelstudio"](texts, tmp_path).read_text())
    assert tasks[0]["data"]["text"].startswith("text ") and "<Text" in (tmp_path / "label_studio.xml").read_text()


def test_label_studio_finds_pictures_by_an_address(pictures, tmp_path):
    """Characters of an address are quoted, links to files elsewhere are links, and what lies elsewhere is embedded."""
    tasks = json.loads(EXPORTS["labelstudio"](pictures, tmp_path).read_text())
    assert {"/data/local-files/?d=pictures/d%20%26%20g/p%200.png"} < {task["data"]["image"] for task in tasks}
    (tmp_path / "links").mkdir()
    names = []
    for row, file in enumerate(pictures.files):
        names.append(f"links/{row}.png" if row else os.path.relpath(file, tmp_path))
        if row:
            (tmp_path / names[-1]).symlink_to(file)
    settings = dataclasses.replace(pictures.settings, data=str(tmp_path / "list.csv"))
    report = dataclasses.replace(pictures.report, ids=np.array(names))
    found = pictures._replace(report=report, settings=settings)
    shown = {task["data"]["image"][:35] for task in json.loads(EXPORTS["labelstudio"](found, tmp_path).read_text())}
    assert shown == {f"/data/local-files/?d=links/{row}.png" for row in range(1, 9)} | {
        "data:image/png;base64,iVBORw0KGgoAA"
    }


def test_label_studio_reads_the_tasks(pictures, tmp_path):
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    tasks = json.loads(EXPORTS["labelstudio"](pictures, tmp_path).read_text())
    view = interface.LabelInterface((tmp_path / "label_studio.xml").read_text())
    for task in tasks:
        assert view.validate_task({"data": task["data"]})
        assert view.validate_prediction(task["predictions"][0]) and view.validate_annotation(task["annotations"][0])


def test_fiftyone_labels_are_by_path(pictures, texts, tmp_path):
    made = json.loads(EXPORTS["fiftyone"](pictures, tmp_path).read_text())
    assert made["classes"] == list(pictures.report.class_names) and len(made["labels"]) == 9
    one = made["labels"]["cat/p 1"]
    assert one["label"] == "cat" and 0 <= one["confidence"] <= 1 and "suggested_label" in one["attributes"]


def test_fiftyone_imports_the_labels(pictures, tmp_path):
    """By the importer alone: a data set of FiftyOne needs a server of MongoDB."""
    importers = pytest.importorskip("fiftyone.utils.data.importers", exc_type=ImportError)
    path = EXPORTS["fiftyone"](pictures, tmp_path)
    found = importers.FiftyOneImageClassificationDatasetImporter(
        data_path=pictures.settings.data, labels_path=str(path)
    )
    found.setup()
    labels = {file: label for file, _, label in found}
    assert len(labels) == 9 and all(file.endswith(".png") for file in labels)
    assert {label.label for label in labels.values()} == {"cat", "d & g"}
    assert sum(label.flagged for label in labels.values()) == 3


def test_what_cannot_be_exported_is_said_before_labels_are_judged(pictures, texts, monkeypatch):
    settings = dataclasses.replace(pictures.settings, export=("fiftyone",))
    with pytest.raises(ValueError, match="needs images in files"):
        check(texts.task, settings)
    ids = np.array(["cat/p 0.jpg", "cat/p 0.png", *pictures.report.ids[2:]])
    with pytest.raises(ValueError, match="paths differ without their suffix"):
        check(pictures.task._replace(ids=ids), settings)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("experiments.denoising.running.judged", None)
    with pytest.raises(ValueError, match="--export hf needs the package datasets"):
        command.denoise(dataclasses.replace(settings, export=("hf",)))


@pytest.mark.filterwarnings("ignore")  # Datalab takes a warning that is an error for a failure of its own
def test_the_frame_is_that_of_datalab(pictures, tmp_path):
    frame = pandas.read_parquet(EXPORTS["cleanlab"](pictures, tmp_path))
    assert frame["is_label_issue"].sum() == 3 and len(frame) == 9
    cleanlab = pytest.importorskip("cleanlab")
    pytest.importorskip("datasets")
    lab = cleanlab.Datalab({"label": frame["given_label"].tolist()}, label_name="label", verbosity=0)
    lab.find_issues(pred_probs=pictures.report.truth, issue_types={"label": {}})
    theirs = lab.get_issues("label")
    assert set(theirs.columns) == set(frame.columns)
    assert (theirs.dtypes["is_label_issue"], theirs.index.tolist()) == (frame.dtypes["is_label_issue"], [*range(9)])


def test_a_data_set_has_the_cleaned_column(pictures, texts, tmp_path):
    datasets = pytest.importorskip("datasets")
    made = datasets.load_from_disk(str(EXPORTS["hf"](pictures, tmp_path)))
    names = made.features["cleaned_label"].names
    assert names == list(pictures.report.class_names)
    assert made["label"][:] == pictures.report.given.tolist()
    assert made["cleaned_label"][:] == pictures.report.cleaned.tolist()
    np.testing.assert_array_equal(np.asarray(made[3]["image"]), pictures.task.images[3])
    made = datasets.load_from_disk(str(EXPORTS["hf"](texts, tmp_path)))
    assert made["text"][2] == "text 2 <b>" and sum(made["flagged"]) == 2


def decisions(path, rows, header=("id", "given_label", "suggested_label", "decision")):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_a_file_of_decisions_is_checked_before_anything_is_read(tmp_path):
    path = decisions(tmp_path / "d.csv", [("mail 0", "ham", "spam", "accepted")])
    with pytest.raises(ValueError, match="holds the decisions accepted; they must be accept or reject"):
        settings.check(Settings(data="nowhere", decisions=path))


def test_decisions_are_applied(texts, tmp_path):
    report = texts.report
    path = decisions(tmp_path / "d.csv", [("mail 0", "ham", "spam", "reject"), ("mail 1", "spam", "ham", "accept")])
    made, words = decided(report, path)
    assert made.flagged.tolist() == [False, True, False, True, False, False]  # the flag of mail 3 stays
    assert made.cleaned.tolist() == [0, 0, 0, 0, 0, 1] and "1 accepted, 1 rejected" in words
    assert made.expected_precision == pytest.approx((1 + report.wrong[3]) / 2)  # mail 1 is wrong, mail 3 may be
    rest = decisions(tmp_path / "d.csv", [(f"mail {i}", "", "", "reject") for i in (0, 3)])
    assert np.isnan(decided(report, rest)[0].expected_precision)


def test_the_label_that_a_person_accepted_is_taken(pictures, tmp_path):
    """The page of a first ranking may suggest another label than the final report."""
    report = dataclasses.replace(pictures.report, class_names=("cat", "d & g", "cow"), truth=np.eye(3)[[0] * 9])
    name, given = report.ids[1], report.class_names[report.given[1]]
    made, _ = decided(report, decisions(tmp_path / "d.csv", [(name, given, "cow", "accept")]))
    assert made.flagged[1] and made.cleaned[1] == 2
    assert f"given {given}, looks like cow" in made.report()
    assert f'data-id="{name}" data-given="{given.replace("&", "&amp;")}" data-other="cow"' in gallery(
        made, None, None, "title", [], 9
    )
    tasks = json.loads(EXPORTS["labelstudio"](pictures._replace(report=made), tmp_path).read_text())
    [said] = [task["predictions"][0]["result"][0] for task in tasks if task["data"]["id"] == name]
    assert said["value"]["choices"] == ["cow"]


def test_a_decision_is_about_every_row_of_a_file(texts, tmp_path):
    """A .csv may list a file twice with one label. A name may begin with a space."""
    report = dataclasses.replace(texts.report, ids=np.array([" a", "b", "c", " a", "e", "f"]))
    made, _ = decided(report, decisions(tmp_path / "d.csv", [(" a", "", "", "reject")] * 2))
    assert not made.flagged.any()


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        ([("mail 0", "ham", "maybe")], COLUMNS, "decisions maybe; they must be accept or reject"),
        ([("mail 9", "ham", "accept")], COLUMNS, "ids that were not judged: mail 9"),
        ([("mail 0", "eggs", "accept")], COLUMNS, "accepts the labels eggs; the classes are ham, spam"),
        ([("mail 1", "ham", "accept"), ("mail 1", "", "reject")], COLUMNS, "accepts and rejects mail 1"),
        ([("mail 1", "ham", "accept"), ("mail 1", "spam", "accept")], COLUMNS, "accepts several labels for mail 1"),
        ([("mail 1", "accept")], ("id", "decided"), "no column suggested_label, decision"),
    ],
)
def test_other_files_are_no_decisions(texts, tmp_path, rows, header, words):
    with pytest.raises(ValueError, match=words):
        decided(texts.report, decisions(tmp_path / "d.csv", rows, header))


def test_a_test_with_added_noise_has_a_folder_of_its_own():
    def folder(**fields):
        return output_of(Settings(**fields), "a/b").as_posix()

    assert folder(method="ridge") == "runs/denoise/a_b-ridge"
    assert folder(method="my.fork:M", noise="human_surrogate:worst") == (
        "runs/denoise/a_b-my.fork_M-human_surrogate_worst"
    )
    assert folder(out=pathlib.Path("here"), noise="symmetric") == "here"


def test_errors_about_evidence_name_flags_as_they_are_typed():
    table = pathlib.Path("a.csv")
    for given, said in [
        ({}, "or pass --features or --pred-probs with --labels"),
        ({"features": table}, "--features and --pred-probs need --labels"),
        ({"data": "digits", "labels": table}, "--labels belongs to --features or --pred-probs"),
        ({"features": table, "pred_probs": table}, "one of --features, --pred-probs is judged"),
    ]:
        with pytest.raises(ValueError, match=said):
            settings.check(Settings(**given))
