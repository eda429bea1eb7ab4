"""Notebooks: text and .ipynb agree, no output is stored, and each notebook runs in a new kernel."""

import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = pathlib.Path(__file__).parents[1]
PAIRS = sorted((ROOT / "notebooks").glob("*.py"))
MINUTES = 10  # in which a cell must end
# from the package lists that Colab publishes (pip-freeze of its GPU image in June, of its TPU image in August 2026)
COLAB_PYTHON = "3.12"
COLAB = {
    "jax": "0.7.2",
    "jaxlib": "0.7.2",
    "flax": "0.11.2",
    "chex": "0.1.90",
    "optax": "0.2.8",
    "numpy": "2.0.2",
    "scipy": "1.16.3",
    "scikit-learn": "1.6.1",
    "pillow": "11.3.0",
    "matplotlib": "3.10.0",
    "pandas": "2.2.2",
    "pyarrow": "18.1.0",
    "tabulate": "0.9.0",
    "jinja2": "3.1.6",
    "rich": "13.9.4",
    "tensorflow-datasets": "4.9.10",
    "importlib_resources": "7.1.0",
}


def cells(text):
    """[(kind, source)] of a notebook in percent format."""
    found = []
    for part in re.split(r"^# %%", text, flags=re.M)[1:]:
        head, _, body = part.partition("\n")
        body = body.strip("\n")
        if head.strip() == "[markdown]":
            found.append(("markdown", "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.split("\n"))))
        else:
            found.append(("code", body))
    return found


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_a_pair_says_the_same_and_is_stored_without_outputs(path):
    stored = json.loads(path.with_suffix(".ipynb").read_text())
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in stored["cells"]] == cells(path.read_text())
    code = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert code and not any(cell["outputs"] or cell["execution_count"] for cell in code)
    assert stored["metadata"]["jupytext"]["formats"] == "ipynb,py:percent"


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_first_cells_are_a_title_the_installation_and_the_start(path):
    (_, title), (_, install), (_, begin) = cells(path.read_text())[:3]
    assert title.startswith("# ") and "https://" not in title
    assert install == cells(PAIRS[0].read_text())[1][1] and "place = begin(drive=None)" in begin


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Run the first cell where `find_spec` gives `spec` for ddjax; returns the commands that it started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DDJAX_SOURCE", raising=False)
    find = importlib.util.find_spec

    def run(spec, *, code=0, says=""):
        calls = []
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "ddjax" else find(name))
        ended = subprocess.CompletedProcess([], code, stdout=says)
        monkeypatch.setattr(subprocess, "run", lambda command, **_: calls.append(command) or ended)
        exec(compile(cells(PAIRS[0].read_text())[1][1], "install", "exec"), {})
        return calls

    return run


@pytest.mark.parametrize("source", [None, "ddjax[denoise] @ git+https://example.org/ddjax"])
def test_installing_takes_the_source_and_never_replaces_jax(tmp_path, monkeypatch, install, source):
    if source:
        monkeypatch.setenv("DDJAX_SOURCE", source)
    (command,) = install(None)
    kept = (tmp_path / "kept.txt").read_text().splitlines()
    assert {f"{name}=={importlib.metadata.version(name)}" for name in ("jax", "jaxlib")} <= set(kept)
    assert command[command.index("--constraint") + 1] == "kept.txt"
    assert not any(word.startswith(("jax", "libtpu", "--upgrade")) for word in command)
    assert command[-1] == (source or "..[denoise]")


def test_nothing_is_installed_where_ddjax_is(tmp_path, install):
    assert install(importlib.util.find_spec("ddjax")) == [] and not (tmp_path / "kept.txt").exists()


def test_the_folder_of_a_clone_is_installed_and_not_taken_for_the_package(tmp_path, install):
    (tmp_path / "ddjax/ddjax").mkdir(parents=True)
    (tmp_path / "ddjax/pyproject.toml").touch()
    (command,) = install(importlib.machinery.PathFinder.find_spec("ddjax", [str(tmp_path)]))
    assert command[-1] == "./ddjax[denoise]"


def test_a_failed_installation_shows_the_reason_that_pip_gives(install):
    with pytest.raises(RuntimeError, match=r"could not install \.\.\[denoise\]:\nThe conflict is caused by: jax"):
        install(None, code=1, says="The conflict is caused by: jax")


def test_the_installation_keeps_the_packages_of_colab():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extra,) = re.findall(r"\{CHECKOUT\}\[(\w+)\]", cells(PAIRS[0].read_text())[1][1])
    assert SpecifierSet(project["requires-python"]).contains(COLAB_PYTHON)
    requirements = [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"][extra]]
    pinned = [requirement for requirement in requirements if requirement.name in COLAB]
    assert {requirement.name for requirement in pinned} == COLAB.keys() - {"jaxlib"}
    replaced = [str(requirement) for requirement in pinned if COLAB[requirement.name] not in requirement.specifier]
    assert not replaced, f"Colab has {COLAB}, so pip would replace a package or fail"


@pytest.mark.notebooks
@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_each_runs_from_a_fresh_kernel(tmp_path, path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    own = {"DDJAX_QUICK": "1", "DDJAX_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    notebook = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=60 * MINUTES, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=os.environ | own)
    shown = [kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    assert any(kind.startswith("image/") for kind in shown)
