"""Each mistake at a public door raises one clear error of ddjax before a network is traced."""

import re

import doors_cases
import doors_numbers
import processes
import pytest

FAULTS = {"labels": 7, "images": 8, "image files": 8}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doors")
    return processes.answer(processes.HERE / "doors.py", folder, DDJAX_CACHE=folder / "cache")


def cases():
    for kind, rows in doors_cases.CASES.items():
        marks = [pytest.mark.faults(FAULTS[kind], kind, "refused by name, value and way out")] if kind in FAULTS else []
        for number, (words, _) in enumerate(rows):
            yield pytest.param(kind, number, marks=marks, id=f"{kind}: {words}")


def check(error, message, module):
    assert error in ("ValueError", "DifferentSizes", "FileNotFoundError", "Damaged"), f"{error}: {message}"
    assert module.partition(".")[0] == "ddjax", f"raised in {module}: {message}"
    assert len(message) < 1000


@pytest.mark.parametrize(("kind", "number"), list(cases()))
def test_a_mistake_raises_one_clear_error(kind, number, found):
    error, message, module = found["cases"][kind][number]
    check(error, message, module)
    assert re.search(doors_cases.CASES[kind][number][0], message, re.S), message


@pytest.mark.parametrize("door", [*doors_numbers.DOORS, "settings"])
def test_numbers_outside_their_range_are_refused_by_name(door, found):
    tried = [row for row in found["numbers"] if door in (row[0], "settings" * (row[0] not in doors_numbers.DOORS))]
    assert tried
    for name, argument, value, *raised in tried:
        assert raised[0] == "ValueError", f"{name}({argument}={value}) raised {raised}"
        check(*raised)
        assert re.search(rf"\b{argument}\b.*\bgot\b", raised[1], re.S), f"{name}({argument}={value}): {raised[1]}"


def test_every_numeric_argument_is_tested(found):
    assert not found["untested"]
