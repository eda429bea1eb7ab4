"""The denoiser as a new user meets it: a folder of pictures, some of them broken, one command, a page."""

import json
import os
import pathlib
import re
import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from reports import read_csv

import ddjax
from ddjax.data import load_all
from ddjax.denoising import DenoiseReport, registry
from experiments import data
from experiments import denoise as command
from experiments.denoising import running
from experiments.display import cli

NAMES = ["zero", 'one "<b>', *map(str, range(2, 10))]
QUICK = {"method": "herding", "flip": False, "width": 8, "students": 2, "epochs": 80, "quiet": True}
QUICK |= {"protocol": "quick", "ipc": 8, "options": ("features=pixels",)}


def run(data, out, **fields):
    return command.denoise(command.Settings(data=str(data), out=out, **(QUICK | fields)))


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
    lines = read_csv(root / "out" / "labels.csv")
    assert {line["id"] for line in lines} == truth.keys()
    assert [int(line["rank"]) for line in lines] == list(range(300))
    flagged = [line for line in lines if line["flagged"] == "yes"]
    hits = sum(truth[line["id"]] != line["given_label"] for line in flagged)
    assert len(flagged) > 20 and hits > 0.6 * len(flagged)
    assert all(line["suggested_label"] != line["given_label"] for line in flagged)


def test_the_cleaned_labels_load_and_are_better(cleaned):
    root, truth = cleaned
    lines = read_csv(root / "out" / "cleaned.csv")
    after = np.mean([truth[line["path"].removeprefix("../pictures/")] == line["label"] for line in lines])
    before = np.mean([name.split("/")[0] == label for name, label in truth.items()])
    assert after > before + 0.05
    again = load_all(root / "out" / "cleaned.csv")
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
    monkeypatch.setattr(running, "judged", stop)
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
    monkeypatch.setattr(registry, "distilled_set", None)
    monkeypatch.setattr(registry, "predict_students", None)
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
        for key in "aaru":
            page.keyboard.press(key)
        with page.expect_download() as saved:
            page.click("#save")
        rows = read_csv(saved.value.path())
        assert [row["decision"] for row in rows] == ["accept", "accept"]
        assert page.locator("#decided").inner_text() == "2 decided"
        page.check("#only")
        shown = page.locator(".card:visible").count()
        assert 20 < shown < 200 and page.locator("#count").inner_text() == f"{shown} of 200 shown"
        page.fill("#search", "scan_00")
        assert page.locator(".card:visible").count() < shown
        browser.close()
    assert said == []


@pytest.mark.slow
def test_detectors_are_compared_where_the_truth_is_known(tmp_path, capsys, monkeypatch):
    pytest.importorskip("cleanlab")
    monkeypatch.setattr(sys, "argv", ["denoise", "digits"])
    fields = {"noise": "symmetric", "rate": 0.3, "limit": 300, "compare": True, "folds": 2, "quiet": False}
    assert run("digits", tmp_path, plain_epochs=30, **fields) == 0
    printed = capsys.readouterr().out
    for word in ("herding", "cleanlab", "small_loss", "AUROC", "corrected", "  confidence_weighted_entropy"):
        assert word in printed
    rows = [json.loads(line) for line in (tmp_path / "detection.jsonl").read_text().splitlines()]
    assert [row["method"] for row in rows] == ["herding", "cleanlab", "small_loss"]
    for row in rows:
        assert row["noise_rate"] == rows[0]["noise_rate"] and row["wall_s"] > 0 and len(row["recall_by_class"]) == 10
        assert sum(row["reliability"]["count"]) == 300 and 0 <= row["calibration_error"] < 0.5
    assert 'id="reliability"' in (tmp_path / "gallery.html").read_text()
    assert rows[0]["auroc"] > 0.75
    assert len({row["fingerprint"] for row in rows}) == 3
    assert len(read_csv(tmp_path / "cleaned.csv")) == 300


def test_mistakes_are_said(monkeypatch):
    with pytest.raises(ValueError, match="--noise"):
        run("digits", None, compare=True)
    with pytest.raises(ValueError, match="--method cleanlab has no options"):
        command.denoise(command.Settings(data="digits", method="cleanlab", options=("features=pixels",)))
    with monkeypatch.context() as without, pytest.raises(ValueError, match="method 'cleanlab' needs cleanlab"):
        without.setattr("importlib.util.find_spec", lambda name: None)
        run("digits", None, compare=True, noise="symmetric")
    with pytest.raises(ValueError, match="--method herding has no steps"):
        run("digits", None, steps=3)
    with pytest.raises(ValueError, match="--options does not take setting=NAME"):
        run("digits", None, method="datm", options=("setting=cifar10",))
    with pytest.raises(ValueError, match="--noise pmd:II needs the predictions of a teacher"):
        run("digits", None, noise="pmd:II", rate=0.2)
    with pytest.raises(ValueError, match="--noise part_dependent: images are needed"):
        table = pathlib.Path("a.csv")
        command.denoise(command.Settings(features=table, labels=table, noise="part_dependent", rate=0.2))
    with pytest.raises(ValueError, match=r"--limit 5 leaves no image of the classes 5, 6, 7, 8, 9: raise it"):
        run("digits", None, limit=5)


def test_all_problems_of_a_folder_come_at_once_and_name_flags_as_typed(tmp_path, monkeypatch, capsys):
    for name, size in {"cat/1": 4, "cat/2": 4, "cat/3": 4, "dog/1": 5, "newt\n/1": 4}.items():
        place = tmp_path / f"{name}.png"
        place.parent.mkdir(exist_ok=True)
        Image.new("L", (size, 4)).save(place)
    (tmp_path / "empty").mkdir()
    (tmp_path / "cat" / "loop").symlink_to(tmp_path)
    (tmp_path / "cat" / os.fsdecode(b"caf\xe9.png")).write_bytes(place.read_bytes())
    monkeypatch.setattr(sys, "argv", ["denoise", str(tmp_path), "--ipc", "3", "--method", "dance"])
    with pytest.raises(SystemExit):
        cli.main(command.denoise)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"reading {tmp_path}",
        f"error: {tmp_path} cannot be read as it is:",
        f"- '{tmp_path}/cat/loop' is a link to '{tmp_path.resolve()}', a folder that contains it: remove the link",
        f"- class folders of {tmp_path} without an image (.png .jpg .jpeg .bmp .webp .gif): 'empty'; "
        "fill or remove them",
        r"- names that are not UTF-8: 'cat/caf\udce9.png'; rename them",
        r"- --ipc 3 is more images than 2 of 3 classes have: 'dog' (1), 'newt\n' (1); add images, or leave those "
        "classes out, or ask for --ipc 1",
        "- images differ in size (width x height): 5 of 4 x 4, 1 of other sizes: 'dog/1.png' (5 x 4); use "
        "--image-size 32, for example, to crop and resize all",
    ]


def test_ten_thousand_classes_of_one_image_are_counted(tmp_path):
    (tmp_path / "a.csv").write_text("path,label\n" + "".join(f"{i}.png,c{i:05d}\n" for i in range(10_000)))
    with pytest.raises(
        ValueError, match=r"ipc=8 is more images than 10,000 of 10,000 .*'c00004' \(1\) and 9,995 more; .*ipc=1$"
    ):
        run(tmp_path / "a.csv", None, image_size=4)
    with pytest.raises(
        ValueError, match=r"ipc=2 is more images than 10,000 of 10,000 classes have: '0' \(1\), '1' .* and 9,995 more"
    ):
        ddjax.denoise(np.zeros((10_000, 8, 8), np.uint8), np.arange(10_000)[::-1].astype(str), ipc=2, method="dance")


def test_arguments_are_shown_as_flags():
    names = cli.flags(command.denoise)
    assert {"image_size", "ipc", "data_dir"} < names
    said = "seed=-1, xseed=1, image_size=32. data= network='a b', images=\"host\", flip=True or flip=False"
    wanted = "--seed -1, xseed=1, --image-size 32. data= --network 'a b', --images \"host\", --flip or --no-flip"
    assert cli.as_typed(said, names) == wanted
    assert cli.flags(data.main) >= {"image_size", "labels", "json"}
    assert "data" not in names and "name" not in cli.flags(data.main)  # positional


def test_a_full_disk_under_standard_output_is_said(monkeypatch, capsys):
    def tell() -> None:
        with open("/dev/full", "w") as full:
            full.write("x")

    monkeypatch.setattr(sys, "argv", ["tell"])
    with pytest.raises(SystemExit):
        cli.main(tell)
    assert capsys.readouterr().err == (
        "error: [Errno 28] No space left on device. The system names no file; it may be standard output\n"
    )
