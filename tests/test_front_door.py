"""The import, the public names and the README."""

import os
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

import ddjax
from ddjax.__main__ import NEEDED_FOR, _complete, report

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()


def test_imports_load_no_heavy_library():
    heavy = "{'tensorflow', 'tensorflow_datasets', 'neural_tangents', 'flax', 'jax', 'sklearn', 'matplotlib'}"
    code = (
        f"import sys, ddjax; print(sorted({heavy} & set(sys.modules))); "
        "[getattr(ddjax, name) for name in ddjax.__all__]; ddjax.testing.contract, ddjax.precision.policy; "
        "print(sorted({'tensorflow', 'tensorflow_datasets', 'neural_tangents'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["[]", "[]"]


def test_every_name_is_there():
    assert all(getattr(ddjax, name) is not None for name in ddjax.__all__)
    assert set(ddjax.__all__) <= set(dir(ddjax))
    with pytest.raises(AttributeError, match=r"it has .*evaluate"):
        ddjax.evalute  # noqa: B018


def test_python_m_ddjax_lists_versions_devices_and_data(tmp_path):
    code = (
        "import runpy, sys; runpy.run_module('ddjax', run_name='__main__'); "
        "print(sorted({'tensorflow', 'tensorflow_datasets', 'neural_tangents'} & set(sys.modules)))"
    )
    own = {"TFDS_DATA_DIR": str(tmp_path / "data"), "DDJAX_CACHE": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    said = subprocess.check_output([sys.executable, "-c", code], text=True, env=os.environ | own)
    lines = {line[:9].strip() or line.split(":")[0].strip(): line for line in said.splitlines()}
    assert ddjax.__version__ in lines["version"] and "backend cpu" in lines["devices"]
    assert f"{tmp_path}/data, not made yet" in lines["data"] and lines["ready"].endswith("ready: digits")
    assert "cifar10" in lines["not there"] and str(tmp_path) in lines["cache"] and "test" in lines["extras"]
    assert said.splitlines()[-1] == "[]"


def test_each_extra_is_shown_with_its_use():
    project = tomllib.loads((pathlib.Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert set(NEEDED_FOR) == set(project["optional-dependencies"])
    shown = report()
    for name, use in NEEDED_FOR.items():
        assert name in shown and (_complete("ddjax", name) != (f"{name:<11} for {use}" in shown))


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.S))
def test_readme_blocks_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})


def test_readme_is_short_and_names_the_two_commands_and_a_picture():
    assert len(README.splitlines()) <= 200
    assert "pip install -e . && python -m experiments.sweep" in README
    assert 'pip install -e ".[test]" && pytest' in README
    pictures = re.findall(r"!\[[^\]]*\]\((?!https:)([^)]+)\)", README)
    assert pictures and all((pathlib.Path(__file__).parents[1] / picture).is_file() for picture in pictures)
