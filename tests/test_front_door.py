"""The import, the public names and the README."""

import pathlib
import re
import tomllib

import processes
import pytest
from image_files import npz

import ddjax
from ddjax.__main__ import NEEDED_FOR, _complete, report

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
LOADED = """
import runpy, sys, ddjax
def loaded(*more):
    heavy = {"tensorflow", "tensorflow_datasets", "neural_tangents", *more}
    print("loaded:", *sorted(heavy & set(sys.modules)))
loaded("flax", "jax", "sklearn", "matplotlib")
ddjax.load(sys.argv[1])
loaded("sklearn", "torch", "pandas")
[getattr(ddjax, name) for name in ddjax.__all__]; ddjax.testing.contract, ddjax.precision.policy
loaded()
runpy.run_module("ddjax", run_name="__main__")
loaded()
"""


def test_nothing_loads_a_heavy_library_and_python_m_ddjax_lists_versions_devices_and_data(tmp_path):
    own = {"TFDS_DATA_DIR": tmp_path / "data", "DDJAX_CACHE": tmp_path}
    said = processes.ended(processes.start("-c", LOADED, npz(tmp_path / "a.npz"), **own)).splitlines()
    assert [line for line in said if line.startswith("loaded:")] == ["loaded:"] * 4
    lines = {line[:9].strip() or line.split(":")[0].strip(): line for line in said}
    assert ddjax.__version__ in lines["version"] and "backend cpu" in lines["devices"]
    assert f"{tmp_path}/data, not made yet" in lines["data"] and lines["ready"].endswith("ready: digits")
    assert "cifar10" in lines["not there"] and str(tmp_path) in lines["cache"] and "test" in lines["extras"]


def test_every_name_is_there():
    assert all(getattr(ddjax, name) is not None for name in ddjax.__all__)
    assert set(ddjax.__all__) <= set(dir(ddjax))
    with pytest.raises(AttributeError, match=r"it has .*evaluate"):
        ddjax.evalute  # noqa: B018


def test_each_extra_is_shown_with_its_use():
    project = tomllib.loads((pathlib.Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert set(NEEDED_FOR) == set(project["optional-dependencies"])
    shown = report()
    for name, use in NEEDED_FOR.items():
        assert name in shown and (_complete("ddjax", name) != (f"{name:<11} for {use}" in shown))


BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)  # to run a method takes seconds


@pytest.mark.parametrize("block", [pytest.param(b, marks=pytest.mark.slow) if "run_method" in b else b for b in BLOCKS])
def test_readme_blocks_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})


def test_readme_is_short_and_names_the_two_commands_and_a_picture():
    assert len(README.splitlines()) <= 200
    assert "pip install -e . && python -m experiments.sweep" in README
    assert 'pip install -e ".[test]" && pytest' in README
    pictures = re.findall(r"!\[[^\]]*\]\((?!https:)([^)]+)\)", README)
    assert pictures and all((pathlib.Path(__file__).parents[1] / picture).is_file() for picture in pictures)
