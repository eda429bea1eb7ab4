"""Notebooks: text and .ipynb agree, no output is stored, and each notebook runs in a new kernel."""

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAIRS = sorted((ROOT / "notebooks").glob("*.py"))
MINUTES = 5  # on two cores, in quick mode


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


@pytest.mark.parametrize("missing", [True, False])
@pytest.mark.parametrize("source", [None, "ddjax[denoise] @ git+https://example.org/ddjax"])
def test_installing_takes_the_source_and_never_replaces_jax(tmp_path, monkeypatch, missing, source):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DDJAX_SOURCE", raising=False)
    if source:
        monkeypatch.setenv("DDJAX_SOURCE", source)
    calls, find = [], importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if missing and name == "ddjax" else find(name))
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append(command))
    exec(compile(cells(PAIRS[0].read_text())[1][1], "install", "exec"), {})
    if not missing:
        assert calls == [] and not (tmp_path / "kept.txt").exists()
        return
    kept = (tmp_path / "kept.txt").read_text().splitlines()
    assert {f"{name}=={importlib.metadata.version(name)}" for name in ("jax", "jaxlib")} <= set(kept)
    (command,) = calls
    assert command[command.index("--constraint") + 1] == "kept.txt"
    assert not any(word.startswith(("jax", "libtpu", "--upgrade")) for word in command)
    assert command[-1] == (source or "..[denoise]")


@pytest.mark.notebooks
@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_each_runs_from_a_fresh_kernel(tmp_path, path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    own = {"DDJAX_QUICK": "1", "DDJAX_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    notebook = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=60 * MINUTES, resources={"metadata": {"path": str(tmp_path)}})
    start = time.monotonic()
    client.execute(env=os.environ | own)
    assert time.monotonic() - start < 60 * MINUTES
    shown = [kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    assert any(kind.startswith("image/") for kind in shown)
