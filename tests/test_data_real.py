"""The prepared CIFAR-10 and CIFAR-10N, where they are installed."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from test_data_tfds import in_order, md5_order

from ddjax.data import load
from ddjax.data.tfds import prepared, tensorflow_datasets
from ddjax.storage import files


def order_file():
    path = files.manual_dir() / "image_order_c10.npy"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return np.load(path)


def real(name):
    if prepared(name, files.data_dir()) is None:
        pytest.skip(f"{name} is not prepared in {files.data_dir()}")
    return name


def undecoded(name):
    skip = {"image": tensorflow_datasets().decode.SkipDecoding()}
    builder = tensorflow_datasets().builder_from_directory(prepared(name, files.data_dir()))
    return builder.as_dataset(split="train", read_config=in_order(), decoders=skip)


def checksum(labels):
    return hashlib.sha256(labels.astype(np.uint8).tobytes()).hexdigest()[:16]


def test_real_cifar10_is_read_in_md5_order(cache):
    order = order_file()
    np.testing.assert_array_equal(order, md5_order(50_000))
    first = undecoded(real("cifar10")).take(3000)
    ids = [e["id"].decode() for e in first.as_numpy_iterator()]
    assert ids == [f"train_{i:05d}" for i in order[:3000]]


@pytest.mark.slow
def test_real_cifar10_labels_are_the_clean_ones(cache):
    order, dataset = order_file(), load(real("cifar10"))
    assert dataset.canonical
    code = (
        "import sys, time, tracemalloc; from ddjax.data import load; tracemalloc.start(); start = time.monotonic();"
        "load('cifar10');"
        "print(time.monotonic() - start, 'tensorflow' in sys.modules, tracemalloc.get_traced_memory()[1])"
    )
    seconds, tensorflow, peak = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert float(seconds) < 1
    assert tensorflow == "False"
    assert int(peak) < 5e6  # bytes; the images on disk are 184e6
    assert np.bincount(dataset.labels).tolist() == [5000] * 10
    assert checksum(dataset.labels) == "2b7cd2f244873176"
    assert checksum(dataset.labels[order]) == "905bbb44a2d3fdda"
    read = undecoded("cifar10").as_numpy_iterator()
    ids, labels = zip(*((e["id"], e["label"]) for e in read), strict=True)
    np.testing.assert_array_equal([int(i[-5:]) for i in ids], order)
    np.testing.assert_array_equal(labels, dataset.labels[order])


@pytest.mark.slow
def test_real_cifar10_n_has_the_published_rates(cache):
    dataset = load(real("cifar10_n"))
    rates = {f: (dataset.extra_labels[f] != dataset.labels).mean() for f in ("aggre_label", "worse_label")}
    assert rates == pytest.approx({"aggre_label": 0.0901, "worse_label": 0.40208}, abs=1e-9)
    assert dataset.test_labels.min() == 0
    assert dataset.class_names[0] == "airplane"
