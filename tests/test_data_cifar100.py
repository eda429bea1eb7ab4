"""CIFAR-100 from a stand-in that TFDS writes: fine and coarse labels, human ones and asymmetric noise."""

import numpy as np
import pytest
from test_data_tfds import text, write
from torch_files import torch_zip

from ddjax import load
from ddjax.data.loading import locate
from ddjax.noise.human import FILES, LENGTH
from ddjax.noise.taxonomy import CIFAR100_COARSE
from ddjax.storage.files import manual_dir
from experiments.display.cli import use_data_dir
from experiments.running.config import Experiment
from experiments.running.run import run
from experiments.running.shared import Shared, make_ready

COUNT, TESTS = 600, 100
FINE = np.arange(LENGTH) % 100
ASKED = np.where(np.arange(LENGTH) % 3 == 0, (FINE + 7) % 100, FINE)  # a third of the labels are wrong


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A TFDS directory with the first images of a CIFAR-100, and the file of its human labels."""
    root = tmp_path_factory.mktemp("tfds")
    rng = np.random.default_rng(0)

    def rows(split, count):
        images = rng.integers(0, 256, (count, 8, 8, 3), np.uint8)
        return [
            {"id": f"{split}_{i:05d}", "image": images[i], "label": FINE[i], "coarse_label": CIFAR100_COARSE[FINE[i]]}
            for i in range(count)
        ]

    features = {
        "label": lambda f: f.ClassLabel(num_classes=100),
        "coarse_label": lambda f: f.ClassLabel(num_classes=20),
    }
    splits = {"train": rows("train", COUNT), "test": rows("test", TESTS)}
    write(root, "cifar100", splits, version="3.0.2", shape=(8, 8, 3), id=text, **features)
    table = {
        "clean_label": FINE,
        "noisy_label": ASKED,
        "clean_coarse_label": CIFAR100_COARSE[FINE],
        "noisy_coarse_label": CIFAR100_COARSE[ASKED],
    }
    file = manual_dir(root) / FILES["cifar100"]
    file.parent.mkdir(parents=True)
    file.write_bytes(torch_zip(table))
    return root


@pytest.fixture(scope="module")
def shared():
    return Shared()


def test_a_known_set_has_one_name(root):
    """Matrices, human labels and channel constants are looked up by it."""
    for name in ("cifar100", "tfds:cifar100", "tfds:cifar100:3.0.2"):
        assert locate(name, data_dir=root).name == "cifar100"


KINDS = [("cifar100", "noisy100", 100), ("cifar100", "asymmetric", 100), ("cifar100_coarse", "noisy100_coarse", 20)]


def study(dataset, noise):
    rate = {} if noise.startswith("noisy") else {"rate": 0.2}
    small = {"width": 4, "depth": 1, "epochs": 1, "students": 1, "ipc": 1, "protocol": "quick"}
    return Experiment(dataset=dataset, noise=noise, method="random", **rate, **small).settled()


@pytest.mark.parametrize(("dataset", "noise", "classes"), KINDS)
def test_the_study_reads_every_kind_of_label(root, shared, cache, monkeypatch, dataset, noise, classes):
    """One folder has the images and, among its manual downloads, the labels by people."""
    monkeypatch.setenv("TFDS_DATA_DIR", "nowhere")
    use_data_dir(str(root))
    ready = make_ready(study(dataset, noise), shared)
    train = ready.prepared.train
    assert (ready.dataset.name, train.num_classes, len(train.labels)) == (dataset, classes, COUNT)
    wrong = {
        "noisy100": (ASKED != FINE)[:COUNT].mean(),
        "noisy100_coarse": (CIFAR100_COARSE[ASKED] != CIFAR100_COARSE[FINE])[:COUNT].mean(),
    }
    found, near = ready.prepared.noise["used_effective_rate"], 0.06 if noise == "asymmetric" else 1e-9
    assert found == pytest.approx(wrong.get(noise, 0.2), abs=near)


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "noise", "classes"), KINDS)
def test_the_study_runs_on_every_kind_of_label(root, shared, cache, monkeypatch, dataset, noise, classes):
    monkeypatch.setenv("TFDS_DATA_DIR", "nowhere")
    use_data_dir(str(root))
    row = run(study(dataset, noise), shared=shared).row
    assert (row["dataset"], len(row["recall"]), row["train_images"]) == (dataset, classes, COUNT)


def test_the_coarse_labels_come_beside_the_fine_ones(root, cache):
    dataset = load("cifar100", data_dir=root)
    np.testing.assert_array_equal(dataset.extra_labels["coarse_label"], CIFAR100_COARSE[dataset.labels])
