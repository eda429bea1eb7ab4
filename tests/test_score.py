"""Scores of distilled sets in the formats of other libraries, and what a file does not say."""

import json

import jax
import numpy as np
import pytest
from flax import serialization
from torch_files import Tensor, torch_legacy, torch_zip

import ddjax
from ddjax.distilled import released
from ddjax.distilled.released import Facts, read_released, to_set
from ddjax.distilled.saving import save_distilled
from ddjax.execution.guard import Diverged
from ddjax.preprocess import SPECS, Preprocess, fit
from experiments import score as command
from experiments.display.progress import View

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 1, (10, 8, 8, 1)).astype(np.float32)
FIRST = IMAGES.transpose(0, 3, 1, 2)  # torch has channels first
CLASSES = np.arange(10)
SOFT = RNG.standard_normal((10, 10)).astype(np.float32)


def checkpoint(*group, **more):
    state = {"x_proto": IMAGES - 0.5, "y_proto": SOFT}
    for name in reversed(group):
        state = {name: state}
    return serialization.msgpack_serialize({"step": 15_000, "log_temp": np.float32(0.342), **state, **more})


def written(folder, name):
    """The path of a file of this format, and the facts that the file does not say."""
    if name in ("datm", "mtt"):
        labels = SOFT if name == "datm" else CLASSES
        parts = {"images": FIRST - 0.5, "labels": labels, "lr": np.float32(0.02)}
        for part, values in parts.items():
            (folder / f"{part}_best.pt").write_bytes(torch_zip(Tensor(values, size=values.shape)))
        return folder / "images_best.pt", {"space": "datm"}
    path = folder / {"rcig": "checkpoint_15000", "npz": "set.npz"}.get(name, "data_best.pt")
    if name in ("dance", "ncfm"):
        path.write_bytes(torch_legacy([Tensor(FIRST), Tensor(CLASSES)]))
        return path, {"factor": 2}
    if name == "npz":
        np.savez(path, images=IMAGES, labels=SOFT)
        return path, {"space": "standardize", "label_kind": "logits", "factor": 1, "flip": False}
    path.write_bytes(
        checkpoint("ema_average", ema_hidden={"x_proto": 0 * IMAGES}) if name == "rcig" else checkpoint("params")
    )
    return path, {"flip": True} if name == "rcig" else {}


def named(space):
    return Preprocess(name=space, fingerprint=f"{space}:0")


@pytest.mark.parametrize("name", released.FORMATS)
def test_every_format_is_read(tmp_path, name):
    path, facts = written(tmp_path, name)
    found = read_released(path, name, Facts(**facts))
    made = to_set(found, named(found.facts.space), 10)
    shift = 0.0 if name in ("dance", "ncfm", "npz") else 0.5
    np.testing.assert_allclose(made.images, IMAGES - shift, atol=1e-7)
    if made.label_kind == "hard":
        np.testing.assert_array_equal(made.labels, CLASSES)
    else:
        np.testing.assert_array_equal(made.labels, SOFT)  # RCIG's rows are not centred, and stay so
    expected = {"datm": "logits", "npz": "logits", "rcig": "regression", "frepo": "regression"}.get(name, "hard")
    assert (made.label_kind, made.factor) == (expected, 2 if name in ("dance", "ncfm") else 1)
    assert made.flip == (name == "rcig")
    assert (made.step_size is not None) == (name in ("datm", "mtt"))


@pytest.mark.parametrize("name", released.FORMATS)
def test_what_a_file_does_not_say_is_asked_for(tmp_path, name):
    path, facts = written(tmp_path, name)
    for fact in facts:
        with pytest.raises(ValueError, match=rf"does not say everything\. Give .*{fact}="):
            read_released(path, name, Facts(**{key: value for key, value in facts.items() if key != fact}))
    if name in ("datm", "mtt"):
        (tmp_path / "lr_best.pt").unlink()
        with pytest.raises(ValueError, match=r"step_size= \(the learned step size\)"):
            read_released(path, name, Facts(**facts))


def test_facts_that_contradict_are_refused(tmp_path):
    path, facts = written(tmp_path, "mtt")
    for wrong, message in [
        ({"label_kind": "logits"}, "label_kind='logits' contradicts"),
        ({"step_size": 0.5}, "step_size=0.5 contradicts"),
        ({"space": "dance"}, r"unknown space of format 'mtt' 'dance'"),
        ({"factor": 2}, "factor=2 contradicts"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_released(path, "mtt", Facts(**facts | wrong))
    with pytest.raises(ValueError, match="unknown label_kind"):
        Facts(label_kind="soft")
    with pytest.raises(ValueError, match="unknown format 'pt'"):
        read_released(path, "pt")
    found = read_released(path, "mtt", Facts(**facts))
    with pytest.raises(ValueError, match="must be 'datm', the space of the images; got 'dance'"):
        to_set(found, named("dance"), 10)
    with pytest.raises(ValueError, match=r"hard labels must lie in 0\.\.4"):
        to_set(found, named("datm"), 5)
    path, facts = written(tmp_path, "dance")
    with pytest.raises(ValueError, match=r"factor=3 must divide the sides \[8, 8\]"):
        read_released(path, "dance", Facts(factor=3))


@pytest.mark.faults(10, "a file that is not the distilled set of this format", "refused, with what it should be")
@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("dance", torch_zip([Tensor(FIRST - 2.5), Tensor(CLASSES)]), r"pixels in 0\.\.1; these lie in -2"),
        ("dance", torch_zip([Tensor(FIRST), Tensor(SOFT)]), r"kind 'hard' are integers \[m\]"),
        ("dance", torch_zip([Tensor(FIRST), Tensor(CLASSES[:9])]), r"for the 10 images; got int64\[9\]"),
        ("dance", torch_zip([Tensor(IMAGES), Tensor(CLASSES)]), "its axes have another order"),
        ("ncfm", torch_zip({"net": Tensor(FIRST), "more": 1, "and": 2}), "not a distilled set"),
        ("rcig", checkpoint("params"), "not a distilled set"),
        ("rcig", checkpoint("ema_average")[:-30], "not a distilled set"),
        ("rcig", b"", "not a distilled set"),
        ("frepo", checkpoint("params", params=3), "not a distilled set"),
        ("npz", b"\x89HDF\r\n", "it is HDF5"),
        ("npz", b"PK\x03\x04", "not a distilled set"),
    ],
)
def test_other_files_are_refused(tmp_path, name, data, message):
    path = tmp_path / "file"
    path.write_bytes(data)
    facts = {"factor": 2} if name in ("dance", "ncfm") else {"flip": False} if name == "rcig" else {}
    with pytest.raises(ValueError, match=message):
        read_released(path, name, Facts(**facts))


def test_names_of_files(tmp_path):
    (tmp_path / "images_zca_1.pt").write_bytes(torch_zip(Tensor(FIRST)))
    with pytest.raises(ValueError, match="mapped back to pixels"):
        read_released(tmp_path / "images_zca_1.pt", "mtt", Facts(space="datm"))
    with pytest.raises(FileNotFoundError):
        read_released(tmp_path / "images_best.pt", "mtt", Facts(space="datm"))
    with pytest.raises(ValueError, match="is a directory"):
        read_released(tmp_path, "rcig", Facts(flip=True))
    np.savez(tmp_path / "step.npz", image=IMAGES, label=SOFT)  # FRePo's other format
    assert read_released(tmp_path / "step.npz", "frepo").labels.shape == (10, 10)


SMALL = {"dataset": "digits", "students": 1, "epochs": 10, "width": 4, "depth": 1, "quiet": True}


SMALLEST = SMALL | {"epochs": 1, "width": None, "depth": None}


@pytest.mark.slow
def test_a_score_is_that_of_evaluate(tmp_path, cache):
    path, facts = written(tmp_path, "rcig")
    settings = command.Settings(
        file=path, format="rcig", protocol=("rcig",), out=tmp_path / "rows.jsonl", **SMALL, **facts
    )
    assert command.score(settings) == 0
    row = json.loads((tmp_path / "rows.jsonl").read_text())
    data = ddjax.load("digits")
    prepared = ddjax.prepare(data, ddjax.NoiseSpec("clean"))
    made = to_set(read_released(path, "rcig", Facts(**facts)), fit(SPECS["rcig"], prepared.train.images, "digits"), 10)
    model = ddjax.build("convnet_rcig", (8, 8, 1), 10, width=4, depth=1)
    scores = ddjax.evaluate(made, prepared.test, protocol="rcig", model=model, students=1, epochs=10, flip=False)
    assert row["students"] == scores.last and row["method"] == "released_rcig" and row["ipc"] == 1


@pytest.mark.slow
def test_protocols_and_architectures(tmp_path, cache):
    path, facts = written(tmp_path, "dance")
    settings = command.Settings(
        file=path, format="dance", architectures=("mlp", "convnet"), protocol=("ncfm",), factor=1, **SMALLEST
    )
    rows = list(command.scored(settings, View(quiet=True)))
    assert [(row["protocol"], row["config"]["network"]) for row in rows] == [("ncfm", "mlp"), ("ncfm", "convnet")]
    assert len({row["fingerprint"] for row in rows}) == 2 and all(row["images"] == 10 for row in rows)
    with pytest.raises(ValueError, match="unknown protocol 'mine'"):
        next(command.scored(command.Settings(file=path, format="dance", protocol=("mine",), **facts), View(quiet=True)))


@pytest.mark.slow
def test_a_set_that_ddjax_saved_needs_no_facts(tmp_path, cache):
    data = ddjax.prepare(ddjax.load("digits"), ddjax.NoiseSpec("clean"), limit=100)
    transform = fit(SPECS["standardize"], data.train.images)
    made = ddjax.run_method(
        "random", ddjax.to_space(data, transform).train, jax.random.key(0), ipc=1, transform=transform
    )
    path = save_distilled(made.distilled, tmp_path / "set")
    settings = command.Settings(file=path, protocol=("ncfm",), architectures=("mlp",), **SMALLEST)
    [row] = command.scored(settings, View(quiet=True))
    assert row["protocol"] == "ncfm" and 0 <= row["last_acc"] <= 1 and row["config"]["precision"] == "float32"
    with pytest.raises(ValueError, match="says everything: leave out --space, --label-kind"):
        next(command.scored(command.Settings(file=path, space="datm", label_kind="hard"), View(quiet=True)))


def test_every_name_is_checked_before_the_first_score_and_a_score_is_kept_when_the_next_one_fails(
    tmp_path, monkeypatch
):
    path, facts = written(tmp_path, "npz")
    done, out = [], tmp_path / "rows.jsonl"

    def row_of(experiment, *_):
        if done:
            raise Diverged("students")
        done.append(experiment.network)
        return {"protocol": "common", "config": vars(experiment), "last_acc": 0.5, "last_std": 0.0, "best_acc": 0.5} | {
            "students": [0.5]
        }

    monkeypatch.setattr(command, "_row", row_of)
    for networks, message in ((("mlp", "convnett"), "unknown network 'convnett'"), (("mlp", "vgg11"), "no depth")):
        settings = command.Settings(file=path, architectures=networks, out=out, **SMALL | {"depth": 2}, **facts)
        with pytest.raises(ValueError, match=message):
            command.score(settings)
    assert not done and not out.exists()
    settings = command.Settings(file=path, architectures=("mlp", "convnet"), out=out, **SMALL, **facts)
    with pytest.raises(Diverged):
        command.score(settings)
    assert done == ["mlp"] and len(out.read_text().splitlines()) == 1
