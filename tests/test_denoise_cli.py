"""The denoiser as a new user meets it: a folder of pictures, some of them broken, one command, a page."""

import csv
import json
import re
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

import ddjax
from ddjax.data import load_whole
from ddjax.denoising import DenoiseReport, denoiser
from experiments import denoise as command
from experiments.denoising import writing

NAMES = ["zero", 'one "<b>', *map(str, range(2, 10))]
QUICK = {"method": "herding", "upright": True, "width": 8, "students": 2, "epochs": 80, "quiet": True}
QUICK |= {"plain_epochs": 30, "ipc": 8, "options": ("features=pixels",)}


def run(data, out, **fields):
    return command.denoise(command.Settings(data=str(data), out=out, **(QUICK | fields)))


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory):
    """300 digits as PNGs, a fifth in the wrong folder, three files broken; and what the command leaves."""
    root = tmp_path_factory.mktemp("user")
    made = ddjax.prepare(ddjax.load("digits"), ddjax.NoiseSpec("symmetric", rate=0.2), limit=300)
    truth = {}
    for i, (image, label) in enumerate(zip(made.train.images, made.train.labels, strict=True)):
        place = root / "pictures" / NAMES[label] / f"scan_{i:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(image)[..., 0]).save(place)
        truth[f"{NAMES[label]}/{place.name}"] = NAMES[made.audit.labels[i]]
    whole = next((root / "pictures" / "4").iterdir()).read_bytes()
    for name, content in [("2/empty.png", b""), ("3/text.png", b"no picture"), ("4/cut.png", whole[:60])]:
        (root / "pictures" / name).write_bytes(content)
    assert run(root / "pictures", root / "out") == 0
    return root, truth


def test_every_image_has_a_line(cleaned):
    root, truth = cleaned
    lines = read(root / "out" / "labels.csv")
    assert {line["id"] for line in lines} == truth.keys()
    assert [int(line["rank"]) for line in lines] == list(range(300))
    flagged = [line for line in lines if line["flagged"] == "yes"]
    hits = sum(truth[line["id"]] != line["given_label"] for line in flagged)
    assert len(flagged) > 20 and hits > 0.6 * len(flagged)
    assert all(line["suggested_label"] != line["given_label"] for line in flagged)


def test_the_cleaned_labels_load_and_are_better(cleaned):
    root, truth = cleaned
    lines = read(root / "out" / "cleaned.csv")
    after = np.mean([truth[line["path"].removeprefix("../pictures/")] == line["label"] for line in lines])
    before = np.mean([name.split("/")[0] == label for name, label in truth.items()])
    assert after > before + 0.05
    again = load_whole(root / "out" / "cleaned.csv")
    assert len(again.images) == 300 and set(again.class_names) == set(NAMES)


def test_broken_files_are_named_and_harm_nothing(cleaned):
    root, _ = cleaned
    lines = (root / "out" / "skipped.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == ["2/empty.png", "3/text.png", "4/cut.png"]
    assert "0x" not in "".join(lines)


class Stopped(Exception):
    pass


def stop(*arguments, **options):
    raise Stopped


def test_unreadable_files_are_told_before_anything_is_trained(cleaned, capsys, monkeypatch):
    root, _ = cleaned
    monkeypatch.setattr(command, "judged", stop)
    with pytest.raises(Stopped):
        run(root / "pictures", root / "out", quiet=False)
    first, found, count, *names = capsys.readouterr().err.splitlines()
    assert first.startswith("reading ") and found == "300 images of 10 classes"
    assert count == "3 files cannot be read and are left out:" and len(names) == 3
    assert names[0].startswith("  2/empty.png: ") and names[2].startswith("  4/cut.png: ")


def test_the_page_stands_alone_and_escapes_names(cleaned):
    root, _ = cleaned
    page = (root / "out" / "gallery.html").read_text()
    assert "<b>/" not in page and "&lt;b&gt;" in page and "3 files" in page and "4/cut.png" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page) and "@import" not in page
    assert page.count('class="card"') == 200
    assert DenoiseReport.load(root / "out").flagged.any()


def test_a_second_run_trains_nothing(cleaned, monkeypatch):
    root, _ = cleaned
    before = (root / "out" / "labels.csv").read_text()
    monkeypatch.setattr(denoiser, "distilled_set", None)
    monkeypatch.setattr(denoiser, "students_say", None)
    assert run(root / "pictures", root / "out") == 0
    assert (root / "out" / "labels.csv").read_text() == before


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium is installed")
def test_the_page_in_a_browser(cleaned):
    playwright = pytest.importorskip("playwright.sync_api")
    root, _ = cleaned
    said = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_context(viewport={"width": 390, "height": 800}).new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda asked: said.append(asked.url) if asked.url.startswith("http") else None)
        page.goto((root / "out" / "gallery.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
        page.check("#only")
        shown = page.locator(".card:visible").count()
        assert 20 < shown < 200 and page.locator("#count").inner_text() == f"{shown} of 200 shown"
        page.fill("#search", "scan_00")
        assert page.locator(".card:visible").count() < shown
        browser.close()
    assert said == []


def test_detectors_are_compared_where_the_truth_is_known(tmp_path, capsys, monkeypatch):
    pytest.importorskip("cleanlab")
    monkeypatch.setattr(sys, "argv", ["denoise", "digits"])
    fields = {"noise": "symmetric", "rate": 0.3, "limit": 300, "compare": True, "folds": 2, "quiet": False}
    assert run("digits", tmp_path, **fields) == 0
    printed = capsys.readouterr().out
    for word in ("herding", "cleanlab", "small_loss", "AUROC", "corrected", "self_confidence"):
        assert word in printed
    rows = [json.loads(line) for line in (tmp_path / "detection.jsonl").read_text().splitlines()]
    assert [row["method"] for row in rows] == ["herding", "cleanlab", "small_loss"]
    for row in rows:
        assert row["noise_rate"] == rows[0]["noise_rate"] and row["wall_s"] > 0 and len(row["recall_by_class"]) == 10
        assert sum(row["reliability"]["count"]) == 300 and 0 <= row["calibration_error"] < 0.5
    assert 'id="reliability"' in (tmp_path / "gallery.html").read_text()
    assert rows[0]["auroc"] > 0.75
    assert len({row["fingerprint"] for row in rows}) == 3
    assert len(read(tmp_path / "cleaned.csv")) == 300


def test_mistakes_are_said():
    with pytest.raises(ValueError, match="--noise"):
        run("digits", None, compare=True)
    with pytest.raises(ValueError, match="distils nothing"):
        run("digits", None, method="cleanlab")
    with pytest.raises(ValueError, match="no number of steps"):
        run("digits", None, steps=3)
    with pytest.raises(ValueError, match="takes no setting=NAME"):
        run("digits", None, method="datm", options=("setting=cifar10",))


def report_on(dataset, flagged, suggested):
    n, k = len(dataset.labels), dataset.num_classes
    given = np.asarray(dataset.labels)
    suspicion = flagged.astype(float)
    truth = np.eye(k)[np.where(flagged, suggested, given)]
    return DenoiseReport(
        ids=np.arange(n).astype(str) if dataset.keys is None else dataset.keys,
        given=given,
        suggested=np.where(flagged, suggested, given),
        suspicion=suspicion,
        wrong=suspicion,
        truth=truth,
        flagged=flagged,
        scores={"loss": suspicion},
        class_names=dataset.class_names,
        score="loss",
        method="by hand",
        expected_precision=1.0,
        noise_rate=0.1,
        seconds={},
        settings={},
    )


def test_an_npz_comes_back_with_its_labels_changed(tmp_path):
    ids = np.array([7, 3, 5, 1, 9])
    arrays = {"x_train": np.zeros((5, 4, 4), np.uint8), "y_train": np.array([[0], [1], [0], [1], [0]]), "ids": ids}
    arrays |= {"x_test": np.ones((2, 4, 4), np.uint8), "y_test": np.array([0, 1])}
    np.savez(tmp_path / "mine.npz", **arrays)
    dataset = load_whole(tmp_path / "mine.npz")
    assert dataset.ids.tolist() == [1, 3, 5, 7, 9] and dataset.labels.tolist() == [1, 1, 0, 0, 0]
    report = report_on(dataset, np.array([False, True, False, False, True]), np.array([0, 0, 0, 0, 1]))
    path = writing.write_cleaned(report, str(tmp_path / "mine.npz"), dataset, tmp_path / "out")
    with np.load(path) as found:
        assert found["y_train"][:, 0].tolist() == [0, 0, 0, 1, 1] and found["y_test"].tolist() == [0, 1]
        np.testing.assert_array_equal(found["ids"], ids)


def test_a_csv_comes_back_with_its_columns(tmp_path):
    (tmp_path / "in").mkdir()
    lines = ["path, label, who"]
    for i in range(6):
        Image.fromarray(np.full((4, 4), 40 * i, np.uint8)).save(tmp_path / "in" / f"{i}.png")
        lines.append(f"{i}.png, {'cat' if i % 2 else 'dog'}, ann")
    (tmp_path / "in" / "labels.csv").write_text("\n".join([*lines, "gone.png, cat, bob"]))
    dataset = load_whole(tmp_path / "in" / "labels.csv")
    assert len(dataset.images) == 6 and dataset.provenance["skipped"][0].startswith("gone.png: FileNotFoundError")
    report = report_on(dataset, np.arange(6) == 4, np.zeros(6, int))
    path = writing.write_cleaned(report, str(tmp_path / "in" / "labels.csv"), dataset, tmp_path / "out")
    rows = read(path)
    assert [row["label"] for row in rows] == ["dog", "cat", "dog", "cat", "cat", "cat", "cat"]
    assert [row["who"] for row in rows] == ["ann"] * 6 + ["bob"] and rows[0]["path"] == "../in/0.png"
    assert load_whole(path).labels.tolist() == [1, 0, 1, 0, 0, 0]


def test_a_folder_is_read_whole(tmp_path):
    for place in ("train/a/1.png", "train/b/2.png", "test/a/3.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / place)
    found = load_whole(tmp_path)
    assert found.keys.tolist() == ["train/a/1.png", "train/b/2.png", "test/a/3.png"] and len(found.test_images) == 0
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="no image files to read"):
        load_whole(tmp_path)
