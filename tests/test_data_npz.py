"""A data set in one file: it keeps its name, ids and other labels, and noise takes its labels from there."""

import dataclasses

import numpy as np
import pytest

from ddjax import NoiseSpec, load, prepare
from ddjax.data import synthetic
from ddjax.data.npz import write_npz
from experiments.data import Write

COUNT, CLASSES = 60, 10


@pytest.fixture
def images(tmp_path):
    """A stand-in for CIFAR-10 with human labels, as a directory with cifar10.npz, and the data set."""
    made = synthetic(CLASSES, COUNT // CLASSES, (4, 4, 3))
    worst = (made.labels + (made.ids % 3 == 0)) % CLASSES
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    made = dataclasses.replace(
        made, name="cifar10", class_names=tuple(names), extra_labels={"worst": worst.astype(np.int32)}, canonical=True
    )
    write_npz(made, tmp_path / "cifar10.npz")
    return tmp_path, made


def test_a_data_set_keeps_its_identity_in_a_file(images, cache):
    folder, made = images
    (folder / "cifar10.npz").rename(folder / "moved.npz")
    read = load(folder / "moved.npz")
    assert (read.name, read.class_names, read.canonical) == ("cifar10", made.class_names, True)
    for field in ("images", "labels", "ids", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(read, field), getattr(made, field))
    np.testing.assert_array_equal(read.extra_labels["worst"], made.extra_labels["worst"])


def test_a_known_name_is_read_from_the_directory_and_needs_no_tensorflow(images, cache, monkeypatch):
    folder, made = images
    monkeypatch.setitem(__import__("sys").modules, "tensorflow_datasets", None)
    read = load("cifar10", data_dir=folder)
    np.testing.assert_array_equal(read.images, made.images)
    with pytest.raises(ValueError, match="train_split= is for TFDS sets"):
        load("cifar10", data_dir=folder, train_split="train[:10%]")


@pytest.mark.parametrize("kind", ["symmetric", "asymmetric", "worst", "human_surrogate:worst"])
def test_noise_on_the_file_is_that_on_the_data_set(images, cache, kind):
    folder, made = images
    spec = NoiseSpec(kind, rate=0.0 if "worst" in kind else 0.4)
    ours, theirs = prepare(load("cifar10", data_dir=folder), spec, limit=40), prepare(made, spec, limit=40)
    np.testing.assert_array_equal(ours.train.labels, theirs.train.labels)
    assert ours.noise["checksum"] == theirs.noise["checksum"]
    if kind == "worst":
        np.testing.assert_array_equal(ours.train.labels, made.extra_labels["worst"][:40])
    assert 0.2 < ours.noise["used_effective_rate"] < 0.5


@pytest.mark.parametrize("key", ["noise_label", "noisy_label", "noisy100"])
def test_human_labels_are_found_by_each_published_name(key):
    """TFDS and the publishers' file name those of CIFAR-100 differently."""
    made = synthetic(100, 1, (4, 4, 3))
    human = np.roll(made.labels, 1)
    made = dataclasses.replace(made, name="cifar100_n", extra_labels={"coarse_label": made.labels, key: human})
    np.testing.assert_array_equal(prepare(made, NoiseSpec("noisy100")).train.labels, human)


FAULTS = {
    "short labels": ({"labels_worst": np.zeros(59, int)}, "labels_worst"),
    "several names": ({"name": np.array(["a", "b"])}, "name is one value"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_of_the_optional_arrays(images, cache, case):
    folder, _ = images
    changes, message = FAULTS[case]
    with np.load(folder / "cifar10.npz") as file:
        np.savez(folder / "bad.npz", **({key: file[key] for key in file.files} | changes))
    with pytest.raises(ValueError, match=message):
        load(folder / "bad.npz")


def test_labels_out_of_range_are_no_noise(images, cache):
    _, made = images
    wrong = dataclasses.replace(made, extra_labels={"worst": np.full(COUNT, CLASSES, np.int32)})
    with pytest.raises(ValueError, match="labels 'worst' of 'cifar10'"):
        prepare(wrong, NoiseSpec("worst"))


def test_the_command_writes_a_file(tmp_path, cache, capsys):
    Write("digits", tmp_path / "digits.npz").run()
    assert "digits: train [1442, 8, 8, 1]" in capsys.readouterr().out
    assert load(tmp_path / "digits.npz").name == "digits"
    with pytest.raises(ValueError, match=r"file must end in \.npz"):
        Write("digits", tmp_path / "digits.zip").run()
    before = (tmp_path / "digits.npz").read_bytes()
    (tmp_path / "link.npz").symlink_to("digits.npz")
    for name, file in [
        (str(tmp_path / "digits.npz"), "digits.npz"),
        ("digits", "digits.npz"),
        (str(tmp_path / "digits.npz"), "link.npz"),
    ]:
        with pytest.raises(
            ValueError, match=r"is read from .*digits.npz, which cannot be written at once: name another"
        ):
            Write(name, tmp_path / file, data_dir=tmp_path).run()
    assert (tmp_path / "digits.npz").read_bytes() == before
