"""Every wrong thing at every public door gets one clear error, from us, before any network is traced."""

import json
import os
import pathlib
import re
import subprocess
import sys

import doors
import pytest

HERE = pathlib.Path(__file__).parent
FAULTS = {"labels": 7, "images": 8, "image files": 8}


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doors")
    own = {"PYTHONPATH": str(HERE.parent), "DDJAX_CACHE": str(folder / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, str(HERE / "doors.py"), str(folder)],
        env=os.environ | own | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def marked(name, kind):
    number = FAULTS.get(kind)
    mark = pytest.mark.faults(number, f"{kind}, each wrong in its own way", "refused by name, value and way out")
    return pytest.param(name, marks=[mark] if number else [])


@pytest.mark.parametrize("name", [marked(name, kind) for name, (_, _, kind) in doors.CASES.items()])
def test_it_is_refused_in_one_clear_sentence(name, said):
    error, words, module = said[name]
    assert error in ("ValueError", "FileNotFoundError"), f"{error}: {words}"
    assert module.partition(".")[0] == "ddjax", f"raised in {module}: {words}"
    assert re.search(doors.CASES[name][1], words, re.S), words
    assert len(words) < 1000
