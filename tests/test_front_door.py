"""What a user meets first: the import, the README, the names."""

import pathlib
import re
import subprocess
import sys

import pytest

import ddjax

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()


def test_import_loads_no_heavy_library():
    heavy = "{'tensorflow', 'tensorflow_datasets', 'neural_tangents', 'flax', 'jax', 'sklearn', 'matplotlib'}"
    code = f"import sys, ddjax; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_public_module_loads_without_tensorflow_or_neural_tangents():
    code = (
        "import sys, ddjax; [getattr(ddjax, name) for name in ddjax.__all__]; "
        "print(sorted({'tensorflow', 'tensorflow_datasets', 'neural_tangents'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_name_is_there():
    assert all(getattr(ddjax, name) is not None for name in ddjax.__all__)
    assert set(ddjax.__all__) <= set(dir(ddjax))
    with pytest.raises(AttributeError, match=r"it has .*evaluate"):
        ddjax.evalute  # noqa: B018


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.S))
def test_readme_blocks_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})


def test_readme_names_the_two_commands_and_a_picture_that_exists():
    assert "pip install -e . && python -m experiments.sweep" in README
    assert 'pip install -e ".[test]" && pytest' in README
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures and all((pathlib.Path(__file__).parents[1] / picture).is_file() for picture in pictures)
