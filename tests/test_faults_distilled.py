"""A distilled set with other data is refused in one sentence; with its own data it needs no other file."""

import dataclasses
import json

import jax.numpy as jnp
import processes
import pytest
from fuzzing import resealed

from ddjax import data, preprocess
from ddjax.distilled import DistilledSet, saving
from ddjax.evaluation import PROTOCOLS, evaluate
from ddjax.noise import NoiseSpec

NAMES = ("ant", "bee", "cat")
OWN = PROTOCOLS["rcig"]  # students in the space of the set


@pytest.fixture(scope="module")
def dataset():
    return dataclasses.replace(data.synthetic(3, 6), class_names=NAMES)


@pytest.fixture(scope="module")
def made(dataset):
    transform = preprocess.fit("standardize", dataset.images)
    return DistilledSet(
        images=preprocess.apply(transform, dataset.images[:6]),
        labels=jnp.asarray(dataset.labels[:6]),
        num_classes=3,
        space=transform.fingerprint,
        preprocess=transform,
        provenance=json.dumps({"class_names": NAMES}),
    )


@pytest.fixture
def saved(made, tmp_path):
    return saving.save_distilled(made, tmp_path / "set")


@pytest.mark.faults(12, "another preprocessing", "refused, both named")
def test_another_preprocessing(made, dataset, tmp_path):
    path = saving.save_distilled(made, tmp_path / "bare", embed=False)
    other = preprocess.fit("unit", dataset.images)
    with pytest.raises(ValueError, match=rf"{made.space}.*{other.fingerprint}"):
        saving.load_distilled(path, other)
    ready = data.prepare(dataset, NoiseSpec())
    elsewhere = data.to_space(ready, other)
    with pytest.raises(ValueError, match=r"already and cannot be converted to|images in .* cannot be"):
        evaluate(made, elsewhere.test, train=ready.train, protocol=OWN, students=1)


@pytest.mark.faults(12, "another order or number of classes", "refused, the first class that differs named")
def test_another_order_of_classes(made, saved, dataset, tmp_path):
    assert saving.load_distilled(saved, class_names=NAMES).num_classes == 3
    with pytest.raises(ValueError, match=r"number 0 is 'ant' there and 'bee' in class_names"):
        saving.load_distilled(saved, class_names=["bee", "ant", "cat"])
    with pytest.raises(ValueError, match="has 3 classes, but class_names has 2"):
        saving.load_distilled(saved, class_names=NAMES[:2])
    nameless = saving.save_distilled(dataclasses.replace(made, provenance="{}"), tmp_path / "nameless")
    with pytest.raises(ValueError, match="does not record the names of its classes"):
        saving.load_distilled(nameless, class_names=NAMES)
    four = data.prepare(data.synthetic(4, 6), NoiseSpec())
    with pytest.raises(ValueError, match="numbers of classes differ: distilled has 3, test has 4"):
        evaluate(saving.load_distilled(saved), four.test, protocol=OWN, students=1)


@pytest.mark.faults(12, "another resolution", "refused, both shapes named")
def test_another_resolution(saved):
    larger = data.prepare(data.synthetic(3, 6, (12, 12, 1)), NoiseSpec())
    with pytest.raises(ValueError, match=r"distilled.images are \[8, 8, 1\] and test.images \[12, 12, 1\]"):
        evaluate(saving.load_distilled(saved), larger.test, protocol=OWN, students=1)


@pytest.mark.faults(12, "another schema", "refused, the version that reads it named")
def test_another_schema(saved):
    resealed(saved.with_suffix(".json"), schema=3)
    with pytest.raises(ValueError, match="has schema 3; this version reads 2"):
        saving.load_distilled(saved)


ALONE = """
import json, socket, sys
import numpy as np

def refuse(*arguments, **more):
    raise AssertionError("the network was asked for")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import ddjax
from ddjax.evaluation import PROTOCOLS
found = ddjax.load_distilled(sys.argv[1], class_names=["ant", "bee", "cat"])
rng = np.random.default_rng(0)
test = ddjax.TestSet(images=rng.integers(0, 256, (6, 8, 8, 1)).astype(np.uint8), labels=np.arange(6) % 3, num_classes=3)
model = ddjax.build("mlp", (8, 8, 1), 3, width=4)
scores = ddjax.evaluate(found, test, protocol="rcig", students=1, epochs=2, model=model)
print(json.dumps([len(scores.last), "tensorflow" in sys.modules]))
"""


@pytest.mark.slow
@pytest.mark.faults(12, "no data and no network", "loaded, and students trained on it")
def test_it_needs_no_data_and_no_network(saved, tmp_path):
    empty = {"HOME": tmp_path / "home", "TFDS_DATA_DIR": tmp_path / "none", "DDJAX_CACHE": tmp_path / "c"}
    assert processes.answer("-c", ALONE, saved, **empty) == [1, False]
    assert not (tmp_path / "home").exists() and not (tmp_path / "none").exists()
