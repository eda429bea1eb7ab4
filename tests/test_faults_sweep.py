"""A sweep with cells that fail in every way, launched twice at once, and on a disk that fills up."""

import signal
import subprocess
import time

import processes
import pytest
from processes import ended
from test_sweep import rows_of

TOML = """
methods = ["random", "faults_methods:HUNGRY", "faults_methods:NAN", "faults_methods:DEADLY"]
noises = [["clean", 0.0], ["symmetric", 0.4]]
ipc = [1]
seeds = [0]
[everywhere]
width = 4
epochs = 2
students = 1
limit = 150
"""
pytestmark = pytest.mark.slow


@pytest.fixture
def launch(tmp_path):
    (tmp_path / "grid.toml").write_text(TOML)
    own = {"DDJAX_CACHE": tmp_path / "cache", "FAULTS_MARK": tmp_path / "mark"}
    command = ["-m", "experiments.sweep", "--config", tmp_path / "grid.toml", "--quiet", "--workers", "1"]
    return lambda out, *words: processes.start(*command, "--out", out, *words, **own)


def scores(out):
    return {
        name: (row["last_acc"], row["students"], row["confusion"])
        for name, row in rows_of(out).items()
        if row["method"] == "random" and row["status"] == "done"
    }


@pytest.fixture
def calm(launch, tmp_path):
    """The scores of the good cells where nothing happened."""
    ended(launch(tmp_path / "calm", "--methods", "random"))
    return scores(tmp_path / "calm")


@pytest.mark.faults(
    11, "cells out of memory, NaN, killed; two launchers", "the others' scores are the same, each failure has a reason"
)
def test_a_sweep_outlives_its_cells_and_launchers(launch, calm, tmp_path, record_property):
    out = tmp_path / "out"
    ended(launch(out), -signal.SIGKILL)  # by the deadly cell
    both = [launch(out), launch(out)]
    words = [process.communicate(timeout=300)[0] for process in both]
    assert {process.returncode for process in both} <= {0, 1}, words
    rows = list(rows_of(out).values())
    assert len(rows) == 8 and scores(out) == calm and len(calm) == 2
    for row in rows:
        kind = row["method"].partition(":")[2]
        assert row["status"] == {"HUNGRY": "failed", "NAN": "failed_nan"}.get(kind, "done"), row
        if kind == "HUNGRY":
            assert "memory" in row["reason"].lower(), row["reason"]
        if kind == "NAN":
            assert "10 updates in a row" in row["reason"] and "rate" in row["reason"] and "last_acc" not in row
    assert not list(out.glob("runs/.aside-*"))
    record_property("lost", "nothing; the killed cell was done again")


@pytest.mark.faults(2, "SIGTERM to a sweep of two worker processes", "all keep what they have; status 75 within 10 s")
def test_a_sweep_of_several_processes_ends_in_order(launch, tmp_path, record_property):
    out, grid = tmp_path / "out", tmp_path / "grid.toml"
    grid.write_text(TOML.replace("epochs = 2", "epochs = 500"))
    words = ["--methods", "random", "--workers", "2", "--save-every", "0"]
    process = launch(out, *words)
    while not list(out.glob("unfinished/*/*/*/fit/step-*")) and process.poll() is None:
        time.sleep(0.05)
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said = ended(process, 75)
    assert time.monotonic() - start < 10, said
    assert "epochs are done, and kept" in said and "Traceback" not in said, said
    ended(launch(out, *words))
    assert [row["status"] for row in rows_of(out).values()] == ["done"] * 2 and not (out / "unfinished").exists()
    record_property("lost", "nothing")


@pytest.mark.faults(11, "the disk is full", "every written row is whole; with space the same command ends the same")
def test_a_sweep_on_a_full_disk(launch, calm, tmp_path, record_property):
    out = tmp_path / "small"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(out)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        said = ended(launch(out, "--methods", "random"), 2)
        assert "No space left on device" in said and "Traceback" not in said, said
        whole = rows_of(out)  # reads every row that there is
        assert all(row["status"] == "done" for row in whole.values())
        subprocess.run(["mount", "-o", "remount,size=16m", str(out)], check=True)
        ended(launch(out, "--methods", "random"))
        assert scores(out) == calm
    finally:
        subprocess.run(["umount", "-l", str(out)], check=True)
    record_property("lost", "nothing; what had not been written was done again")
