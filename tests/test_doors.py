"""Every wrong thing at every public door gets one clear error, from us, before any network is traced."""

import json
import os
import pathlib
import re
import subprocess
import sys

import doors
import doors_numbers
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


def refused(error, words, module):
    assert error in ("ValueError", "FileNotFoundError", "Damaged"), f"{error}: {words}"
    assert module.partition(".")[0] == "ddjax", f"raised in {module}: {words}"
    assert len(words) < 1000


@pytest.mark.parametrize("name", [marked(name, kind) for name, (_, _, kind) in doors.CASES.items()])
def test_it_is_refused_in_one_clear_sentence(name, said):
    error, words, module = said["cases"][name]
    refused(error, words, module)
    assert re.search(doors.CASES[name][1], words, re.S), words


@pytest.mark.parametrize("door", [*doors_numbers.DOORS, "settings"])
def test_numbers_outside_their_range_are_refused_by_name(door, said):
    tried = [
        row for row in said["numbers"] if (row[0] == door) or (door == "settings" and row[0] not in doors_numbers.DOORS)
    ]
    assert tried
    for name, argument, value, *raised in tried:
        assert raised[0] == "ValueError", f"{name}({argument}={value}) raised {raised}"
        refused(*raised)
        assert re.search(rf"\b{argument}\b.*\bgot\b", raised[1], re.S), f"{name}({argument}={value}): {raised[1]}"


def test_no_number_is_forgotten(said):
    assert not said["forgotten"]
