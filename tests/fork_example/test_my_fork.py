"""What a fork's own tests look like: the contract of each method, then a run of everything through the front door."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import linen as nn
from my_fork import kernel, medians

import ddjax
from ddjax import models, names, testing
from ddjax.models.registry import _built
from ddjax.noise import Annotator, apply
from experiments import one
from experiments.noise import inspect
from experiments.running.methods import parse
from experiments.running.shared import pieces
from experiments.sweeping.grid import cells, from_file

test_medians = testing.contract(medians.METHOD, ipc=2, steps=4, batch=12)
test_cauchy = testing.contract(kernel.METHOD, ipc=1, steps=3, batch=8)

LABELS = np.arange(400, dtype=np.int32) % 10
IMAGES = np.random.default_rng(0).random((400, 8, 8, 1)) * np.linspace(0.1, 1, 400)[:, None, None, None]


def test_a_median_is_nearer_than_where_it_started():
    case = testing.Case(medians.METHOD, medians.MediansConfig(ipc=1, steps=60, batch=24))
    step, state = jax.jit(case.distiller.step), case.state()
    first = step(state, case.batch(0))[1]["distance"]
    assert step(case.looped(), case.batch(0))[1]["distance"] < 0.8 * first


def test_noise_of_a_matrix_and_of_an_annotator():
    near = apply(ddjax.NoiseSpec("my_fork.noise:neighbours", 0.4), LABELS, np.arange(400), 10)
    apart = (near.labels - LABELS) % 10
    assert set(np.unique(apart)) == {0, 1, 9} and abs(near.record["effective_rate"] - 0.4) < 0.1
    order = np.random.default_rng(1).permutation(400)  # ids, not the order of rows, decide what an example is called
    spec = ddjax.NoiseSpec("my_fork.noise:faint", 0.25, seed=3)
    faint = apply(spec, LABELS[order], order, 10, images=IMAGES[order])
    wrong = faint.labels != LABELS[order]
    assert wrong.sum() == 100 and IMAGES[order][wrong].std((1, 2, 3)).max() < IMAGES[order][~wrong].std((1, 2, 3)).min()
    assert faint.record["sampler"] == "my_fork.noise:faint" and faint.record["seed"] == 3
    assert np.array_equal(faint.labels, apply(spec, LABELS, np.arange(400), 10, images=IMAGES).labels[order])


@pytest.mark.parametrize(
    ("labels", "words"), [(np.full(400, 10), r"lie in 0\.\.9"), (np.zeros(3, int), "3 labels for 400 examples")]
)
def test_an_annotator_that_errs_is_named(monkeypatch, labels, words):
    monkeypatch.setattr("my_fork.noise.faint", Annotator(lambda spec, truth: labels))
    with pytest.raises(ValueError, match=f"my_fork.noise:faint.*{words}"):
        apply(ddjax.NoiseSpec("my_fork.noise:faint", 0.2), LABELS, np.arange(400), 10)


def test_an_annotator_reads_the_labels_file_of_the_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("my_fork.noise.faint", Annotator(lambda spec, truth: (np.load(spec.labels_file) + 1) % 10))
    np.save(tmp_path / "labels.npy", LABELS)
    inspect("cifar10", "my_fork.noise:faint", labels=tmp_path / "labels.npy")
    assert "realised rate   1.00000 (400 labels changed)" in capsys.readouterr().out


def test_a_data_set_by_its_function():
    bars = ddjax.load("my_fork.data:bars")
    assert bars.name == "bars" and bars.image_shape == (8, 8, 1) and bars.class_names == ("horizontal", "vertical")
    with pytest.raises(ValueError, match=r"data set 'my_fork.data:bar' is read as module:ATTRIBUTE.*no attribute"):
        ddjax.load("my_fork.data:bar")
    with pytest.raises(ValueError, match="image_size"):
        ddjax.load("my_fork.data:bars", image_size=8)
    with pytest.raises(ValueError, match=r"what 'pathlib:Path' returns must be a Dataset; got PosixPath"):
        ddjax.load("pathlib:Path")


def test_an_object_of_another_kind_is_named():
    with pytest.raises(ValueError, match=r"method 'my_fork.kernel:cauchy' must be a Method; it is a function"):
        parse("my_fork.kernel:cauchy")
    with pytest.raises(ValueError, match=r"network 'operator:contains' must return a linen module or a Model"):
        ddjax.build("operator:contains", (8, 8, 1), 2)
    with pytest.raises(ValueError, match=r"my_fork.noise:_faint' must be a function .* or an Annotator"):
        apply(ddjax.NoiseSpec("my_fork.noise:_faint", 0.2), LABELS, np.arange(400), 10)


@dataclasses.dataclass
class Changeable:
    ipc: int = 1
    steps: int = 1
    batch: int = 4


Countless = dataclasses.make_dataclass("Countless", [("ipc", int, 1), ("batch", int, 4)], frozen=True)
Incomplete = dataclasses.make_dataclass("Incomplete", [("steps", int)], frozen=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": dict}, "must be a frozen dataclass; got <class 'dict'>"),
        ({"config": Changeable}, r"Changeable needs a hash.*frozen=True"),
        ({"config": Countless}, "Countless has no field steps"),
        ({"config": Incomplete}, "field steps of Incomplete has no default"),
        ({"build": lambda config, model: (1, 2)}, "build returns must be a Distiller; got tuple"),
        ({"prepare": lambda *parts: medians.prepare(*parts)[0]}, r"pair \(start, feed\); got DistilledSet"),
        ({"prepare": lambda *parts: (None, print)}, "prepare returns must be a Feed; got builtin_function"),
        ({"step": lambda state, batch: state}, "step must return the pair .*; got MediansState"),
        ({"step": lambda state, batch: (state, {"far": state.distilled.labels})}, r"metric far .* got int32\[3\]"),
        ({"extract": lambda state: state.distilled.images}, "extract returns must be a DistilledSet; got .*float32"),
    ],
)
def test_a_mistake_in_a_method_is_named(changes, message):
    own = {name: changes.pop(name) for name in ("step", "extract") if name in changes}
    changes = {"build": lambda config, model: medians.build(config, model)._replace(**own)} | changes
    with pytest.raises(ValueError, match=message):
        ddjax.run_method(medians.METHOD._replace(**changes), testing.toy_train(), jax.random.key(0))


@pytest.mark.parametrize("field", ["ipc", "batch"])
def test_a_field_that_the_configuration_does_not_check_is_checked_before_anything_runs(field):
    with pytest.raises(ValueError, match=f"{field} must be .* at least 1; got 0"):
        ddjax.run_method(medians.METHOD, testing.toy_train(), jax.random.key(0), **{field: 0})


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (lambda images: images.reshape(len(images), -1)[:, :2], r"return \(logits .* got float32\[2, 2\]"),
        (lambda images: (images.reshape(len(images), -1), images), r"logits \[n 2\] for 2 classes.*\[2, 64\]"),
    ],
)
def test_a_network_whose_outputs_do_not_fit_is_named(monkeypatch, outputs, message):
    made = type("Mine", (nn.Module,), {"__call__": lambda self, images, present=None: outputs(images)})
    monkeypatch.setattr("my_fork.nets.small", lambda image_shape, num_classes: made())
    _built.cache_clear()
    with pytest.raises(ValueError, match=message):
        ddjax.build("my_fork.nets:small", (8, 8, 1), 2)


def test_how_a_network_is_called_is_checked(monkeypatch):
    with pytest.raises(ValueError, match=r"my_fork.nets:small' must be a function .*argument 'width'"):
        ddjax.build("my_fork.nets:small", (8, 8, 1), 2, width=4)
    made = type("Mine", (nn.Module,), {"__call__": lambda self, images: (images, images)})
    with pytest.raises(ValueError, match=r"Mine must take \(images, present=None\): too many"):
        models.from_linen(made(), (8, 8, 1))


def test_a_grid_with_nothing_of_the_librarys_own():
    grid = from_file(pathlib.Path(__file__).parent / "my_fork" / "sweep.toml")
    own = [pieces(cell).config for cell in cells(grid) if cell.method == "my_fork.medians:METHOD"]
    assert len(cells(grid)) == 6 and own == [medians.MediansConfig(ipc=1, steps=20, rate=0.25)] * 2


def test_one_run_with_nothing_of_the_librarys_own(tmp_path, capsys):
    settings = one.Settings(
        **{"dataset": "my_fork.data:bars", "noise": "my_fork.noise:faint", "rate": 0.2, "ipc": 1, "steps": 5},
        **{"method": "my_fork.medians:METHOD", "options": ("rate=0.25",), "network": "my_fork.nets:small"},
        **{"protocol": "my_fork.scoring:SHORT", "epochs": 2, "students": 1},
        **{"out": tmp_path, "quiet": True, "json": True},
    )
    assert one.one(settings) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["method"] == "my_fork.medians:METHOD" and row["dataset"] == "bars"
    assert row["protocol"] == "short" and row["effective_rate"] == pytest.approx(0.2) and row["distill_steps"] == 5


@pytest.mark.slow
def test_a_name_is_found_from_the_folder_the_command_runs_in():
    here = pathlib.Path(__file__).parent
    command = [sys.executable, "-m", "experiments.noise", "--dataset", "digits", "--kind", "my_fork.noise:faint"]
    done = subprocess.run([*command, "--rate", "0.5"], cwd=here, capture_output=True, text=True)
    assert done.returncode == 0 and "(721 labels changed)" in done.stdout, done.stderr
    assert names.choose({}, "my_fork.kernel:METHOD", "method") is kernel.METHOD
