"""Images from folders of the package datasets, and features of images by a network of timm."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from experiments import denoise as command
from experiments.denoising import embedding, huggingface
from experiments.denoising.reading import output_of
from experiments.display.progress import View

NAMES = ("cat", "dog")


def pictures(count=12, side=8):
    """Dark cats and bright dogs."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    pixels = rng.integers(100, size=(count, side, side, 3)) + 120 * labels[:, None, None, None]
    return pixels.astype(np.uint8), labels


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    datasets = pytest.importorskip("datasets")
    images, labels = pictures()
    kinds = datasets.Features({"photo": datasets.Image(), "kind": datasets.ClassLabel(names=[*NAMES])})
    made = datasets.Dataset.from_dict({"photo": [*images], "kind": labels.tolist()}, features=kinds)
    root = tmp_path_factory.mktemp("hf") / "mine"
    datasets.DatasetDict({"train": made}).save_to_disk(str(root))
    return root


def read(root, **columns):
    asked = {"image_size": None, "image_column": None, "label_column": None} | columns
    return huggingface.load(root, **asked)


def test_a_saved_data_set_is_read(saved):
    images, labels = pictures()
    assert huggingface.is_dataset(saved)
    for found in (read(saved), read(saved, image_column="photo", label_column="kind")):
        np.testing.assert_array_equal(found.images, images)
        assert found.labels.tolist() == labels.tolist() and found.class_names == NAMES
    with pytest.raises(ValueError, match="has the columns photo, kind: name one of them by label_column=; got 'sort'"):
        read(saved, label_column="sort")


@pytest.mark.parametrize(
    ("kind", "values"), [("string", "ab"), ("string", ["a", ""]), ("int64", [0, 1]), (None, [0, -1])]
)
def test_missing_labels_are_no_class(tmp_path, kind, values):
    datasets = pytest.importorskip("datasets")
    images, labels = pictures()
    given = [values[c % 2] for c in labels[:-1]] + ["" if "" in values else None]
    labelled = datasets.Value(kind) if kind else datasets.ClassLabel(names=[*NAMES])
    kinds = datasets.Features({"image": datasets.Image(), "label": labelled})
    datasets.Dataset.from_dict({"image": [*images], "label": given}, features=kinds).save_to_disk(str(tmp_path))
    with pytest.raises(ValueError, match="labels are missing, the first in row"):
        read(tmp_path)


def test_a_data_set_keeps_columns_that_are_called_like_new_ones(tmp_path):
    datasets = pytest.importorskip("datasets")
    images, labels = pictures()
    columns = {"image": [*images], "id": [f"mine {i}" for i in range(12)], "label": ["coarse"] * 12}
    kinds = {"image": datasets.Image(), "id": datasets.Value("string"), "label": datasets.Value("string")}
    kinds["fine"] = datasets.ClassLabel(names=[*NAMES])
    made = datasets.Dataset.from_dict({**columns, "fine": labels.tolist()}, features=datasets.Features(kinds))
    made.save_to_disk(str(tmp_path / "own"))
    settings = {"method": "random", "width": 4, "students": 1, "epochs": 2, "ipc": 2, "quiet": True}
    asked = command.Settings(data=str(tmp_path / "own"), out=tmp_path / "out", export=("hf",), **settings)
    assert command.denoise(asked) == 0
    found = datasets.load_from_disk(str(tmp_path / "out" / "hf"))
    assert found["id"][:] == columns["id"] and found["label"][:] == columns["label"]
    assert found["fine"][:] == labels.tolist() and found.features["cleaned_label"].names == list(NAMES)


def test_class_numbers_without_names_are_ordered_as_numbers():
    numbers, names = huggingface._numbers(np.array([10, 9, 0]), None)
    assert numbers.tolist() == [2, 1, 0] and names == ["0", "9", "10"]


def test_an_imagefolder_with_metadata_is_read(tmp_path):
    pytest.importorskip("datasets")
    images, labels = pictures()
    lines = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        lines.append(json.dumps({"file_name": f"{number}.png", "label": NAMES[label]}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    found = read(tmp_path)
    assert [found.class_names[c] for c in found.labels] == [NAMES[c] for c in labels]
    assert found.keys[0].endswith("0.png") and len(found.images) == 12


def test_the_command_reads_a_saved_data_set_and_writes_one(saved, tmp_path):
    datasets = pytest.importorskip("datasets")
    settings = {"method": "random", "width": 4, "students": 1, "epochs": 2, "ipc": 2, "quiet": True}
    asked = command.Settings(data=str(saved), out=tmp_path, export=("hf", "labelstudio"), **settings)
    assert command.denoise(asked) == 0
    made = datasets.load_from_disk(str(tmp_path / "hf"))
    assert {"photo", "kind", "cleaned_label", "flagged"} <= set(made.column_names) and len(made) == 12


@pytest.mark.slow
def test_a_quiet_run_shows_no_bars(saved, tmp_path):
    words = ["--method", "ridge", "--export", "hf", "--out", str(tmp_path), "--quiet"]
    command = [sys.executable, "-m", "experiments.denoise", str(saved), *words]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0 and (tmp_path / "hf").is_dir()
    assert ended.stdout == "" and "Saving" not in ended.stderr


def test_a_class_that_no_image_has_is_refused_with_a_way_out(tmp_path):
    datasets = pytest.importorskip("datasets")
    images, labels = pictures()
    kind = datasets.ClassLabel(names=[*NAMES, "newt"])
    columns = {"image": [*images], "label": labels.tolist(), "name": [NAMES[c] for c in labels]}
    kinds = datasets.Features({"image": datasets.Image(), "label": kind, "name": datasets.Value("string")})
    datasets.Dataset.from_dict(columns, features=kinds).save_to_disk(str(tmp_path / "own"))
    settings = {"out": tmp_path / "out", "method": "ridge", "quiet": True}
    with pytest.raises(ValueError, match=r"has the classes newt: .* choose it by --label-column"):
        command.denoise(command.Settings(data=str(tmp_path / "own"), **settings))
    assert command.denoise(command.Settings(data=str(tmp_path / "own"), label_column="name", **settings)) == 0


@pytest.fixture(scope="module")
def small_network(tmp_path_factory):
    """A network of a few hundred weights, saved as the hub keeps it."""
    timm = pytest.importorskip("timm")
    root = tmp_path_factory.mktemp("network")
    model = timm.create_model("test_byobnet", pretrained=False)
    shown = {name: model.pretrained_cfg[name] for name in ("mean", "std", "classifier", "first_conv")}
    config = {"architecture": "test_byobnet", "num_classes": model.num_classes, "num_features": model.num_features}
    config["pretrained_cfg"] = shown | {"input_size": [3, 32, 32], "num_classes": model.num_classes}
    (root / "config.json").write_text(json.dumps(config))
    pytest.importorskip("safetensors.torch").save_file(model.state_dict(), root / "model.safetensors")
    return f"timm:local-dir:{root}"


def test_features_are_computed_once_and_continue_after_a_stop(small_network, tmp_path, monkeypatch):
    images, _ = pictures()
    monkeypatch.setattr(embedding, "BATCH", 4)
    opened = []

    def open_one(row):
        opened.append(row)
        if len(opened) == 10:  # in the third batch
            raise KeyboardInterrupt
        return Image.fromarray(images[row])

    asked = (small_network, open_one, 12, "identity", tmp_path, View(quiet=True))
    with pytest.raises(KeyboardInterrupt):
        embedding.embedded(*asked)
    found = embedding.embedded(*asked)
    assert opened[10:] == [8, 9, 10, 11] and found.shape[0] == 12 and np.isfinite(found).all()
    assert len(np.unique(found, axis=0)) == 12
    embedding.embedded(*asked)
    assert len(opened) == 14


def test_the_command_judges_features_of_photographs_of_any_size(small_network, tmp_path):
    images, labels = pictures(24)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = tmp_path / "in" / NAMES[label if number != 5 else 1 - label] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize((8 + number, 30)).save(place)
    settings = {"embed": small_network, "method": "prototypes", "ipc": 2, "quiet": True}
    assert command.denoise(command.Settings(data=str(tmp_path / "in"), out=tmp_path / "out", **settings)) == 0
    page = (tmp_path / "out" / "gallery.html").read_text()
    assert page.count('class="card"') == 24 and page.count("<img") >= 24


def test_networks_that_do_not_exist_are_named(small_network):
    with pytest.raises(ValueError, match=r"--embed timm:resnett: the network or its weights cannot be loaded"):
        embedding.network("timm:resnett")
    model, prepare = embedding.network(small_network)
    assert model(prepare(Image.new("RGB", (50, 40)))[None]).shape[0] == 1
    with pytest.raises(ValueError, match="must be timm:NAME"):
        embedding.check_name("clip")


def test_files_of_one_name_have_folders_of_their_own(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    names = ("x.npz", "x.csv", "a/x.npz")
    for name in names:
        pathlib.Path(name).touch()
    paths = (*names, str(tmp_path / "a/x.npz"))
    folders = [output_of(command.Settings(data=path, method="ridge"), "x").name for path in paths]
    assert folders == ["x.npz-ridge", "x.csv-ridge", "a_x.npz-ridge", "a_x.npz-ridge"]
    monkeypatch.chdir(tmp_path / "a")
    assert output_of(command.Settings(data="../x.npz", method="ridge"), "x").name.endswith(
        f"{tmp_path.name}_x.npz-ridge"
    )
