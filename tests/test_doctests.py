"""The examples in the docstrings run, and print what they say."""

import doctest
import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
MODULES = sorted(path for path in ROOT.glob("ddjax/**/*.py") if ">>> " in path.read_text())


SLOW = ("denoising/denoiser.py", "evaluation/ranking.py", "evaluation/students.py", "training/predict.py")  # they train
PARAMETERS = [
    pytest.param(path, marks=pytest.mark.slow if path.as_posix().endswith(SLOW) else (), id=str(path.relative_to(ROOT)))
    for path in MODULES
]


@pytest.mark.parametrize("path", PARAMETERS)
def test_examples(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed
