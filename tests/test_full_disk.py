"""A full disk at the end of a run: the message names the file and the way to continue."""

import contextlib
import os
from unittest import mock

import jax.numpy as jnp
import numpy as np
import pytest

from ddjax.distilled import DistilledSet
from experiments import one
from experiments.display import cli, figures
from experiments.sweeping.store import Store


class Full:
    """A file on a full disk."""

    def __init__(self, file):
        self.file = file

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, content):
        raise OSError(28, "No space left on device")


@pytest.mark.faults(11, "no space for a result at the end of a run", "the file is named, and the way to go on")
@pytest.mark.parametrize("name", ["log.csv", "curves.png", "distilled.npz"])
def test_a_full_disk_at_the_end_of_a_run_names_the_file_and_the_way_out(tmp_path, monkeypatch, capsys, name):
    outcome = mock.Mock(row={"epochs": 2, "noise": "clean", "rate": 0, "dataset": "d", "protocol": "p", "moments": {}})
    outcome.row |= {"train_images": 3, "effective_rate": 0.0}
    outcome.scores.curves = {key: np.zeros((1, 2)) for key in ("given_acc", "clean_acc", "test_acc")}
    outcome.distilled = DistilledSet(images=jnp.zeros((2, 4, 4, 1)), labels=jnp.arange(2), num_classes=2, space="s")
    writers = {
        "log.csv": lambda path: one.write_log({"loss": np.zeros(2)}, path),
        "curves.png": lambda path: figures.curves(outcome, path),
        "distilled.npz": lambda path: Store(tmp_path).write([{"fingerprint": "f"}], [outcome]),
    }
    opened = os.fdopen

    @contextlib.contextmanager
    def full(*arguments, **more):
        with opened(*arguments, **more) as file:
            yield Full(file)

    monkeypatch.setattr("ddjax.storage.files.os.fdopen", full)
    with pytest.raises(OSError) as error:
        writers[name](tmp_path / name)
    with pytest.raises(SystemExit, match="2"):
        cli.fail(error.value)
    said, path = capsys.readouterr().err, tmp_path / ("runs/f" if name == "distilled.npz" else name)
    words = "No space left on device: not written, and what was there before is as it was"
    way_out = "Free space there and run the same command again: it continues from what was saved."
    assert said == f"error: [Errno 28] {words}: '{path}'. {way_out}\n"
    assert not path.exists()
