"""`python -m experiments.data`: its output."""

import json
import pathlib

import numpy as np
import pytest
from image_files import npz

from experiments.data import Check, List, lines


@pytest.fixture
def file(tmp_path):
    labels, names = {"labels": np.minimum(np.arange(40), 2), "test_labels": np.arange(8) % 2}, ["ant", "bee", "cow"]
    return str(npz(tmp_path / "set.npz", class_names=names, **labels))


def test_check_prints_what_there_is(file, cache, capsys):
    Check(file).run()
    out = capsys.readouterr().out
    for part in ("train [40, 5, 5, 3], test [8, 5, 5, 3]", "3: ant, bee, cow", "1, 1, 38", "4, 4, 0", "0 to 39"):
        assert part in out
    assert str(cache) in out


def test_check_as_json(file, cache, capsys):
    Check(file, json=True).run()
    facts = json.loads(capsys.readouterr().out)
    assert facts["train_counts"] == [1, 1, 38]
    assert facts["provenance"]["counts"] == {"train": 40, "test": 8}
    Check("digits", json=True).run()
    assert json.loads(capsys.readouterr().out)["cache"] is None


def test_list_says_what_is_prepared(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # a shell leaves the ~ of --data-dir=~ to the program
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    (tmp_path / "mnist" / "3.0.1" / "dataset_info.json").write_text("{}")
    List(pathlib.Path("~")).run()
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert lines["mnist"].endswith("3.0.1")
    assert lines["cifar10"].startswith("not prepared in")
    assert lines["tiny_imagenet"].startswith("not in")


def test_control_characters_in_class_names_are_escaped():
    facts = {"classes": ["a\nb", "c\x1b[2J"], "ids": [0, 1], "canonical": True, "name": "x", "train": [2], "test": [0]}
    facts |= {"train_counts": [1, 1], "test_counts": [0, 0], "extra_labels": [], "cache": None, "provenance": {}}
    assert lines(facts)[1] == r"classes       2: a\nb, c\x1b[2J"
