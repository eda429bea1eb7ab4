"""Killed anywhere, a run goes on and ends in the bits of one that was left alone."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import faults_child
import pytest

from ddjax.distillers import DISTILLERS

HERE = pathlib.Path(__file__).parent
KILLS = 5


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """One compilation cache for all processes of these tests: they differ in nothing that is compiled."""
    return tmp_path_factory.getbasetemp().parent / "faults_compiled"


@pytest.fixture
def child(compiled, tmp_path):
    """Start `faults_child.py`; returns (status, standard output, standard error)."""
    own = {
        "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}",
        "DDJAX_CACHE": str(tmp_path / "cache"),
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }

    def start(*words, wait=True, **more):
        command = [sys.executable, str(HERE / "faults_child.py"), *map(str, words)]
        process = subprocess.Popen(
            command, env=os.environ | own | more, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if not wait:
            return process
        out, said = process.communicate(timeout=300)
        return process.returncode, out, said

    return start


def ends_the_same(child, name, folder):
    status, out, said = child(name, folder)
    assert status == 0, said
    found = json.loads(out.splitlines()[-1])
    assert found["same"] and found["steps"] == faults_child.STEPS, found
    return found["first"]


def test_every_distiller_that_has_steps_is_killed():
    assert {*faults_child.CONFIGS, "full"} == set(DISTILLERS)


@pytest.mark.slow
@pytest.mark.faults(1, "SIGKILL at five random steps, one run of each distiller", "the bits of a run left alone")
@pytest.mark.parametrize("name", faults_child.CONFIGS)
def test_killed_at_random_steps(name, child, tmp_path, record_property):
    folder, steps = tmp_path / "run", random.Random(name).sample(range(1, faults_child.STEPS + 1), KILLS)
    for step in sorted(steps):
        status, _, said = child(name, folder, f"report:{step}")
        assert status == -signal.SIGKILL, said
    first = ends_the_same(child, name, folder)
    assert first == max(steps), "the run began anew, or trusted a step that was not kept"
    record_property("lost", "nothing; the step in which it was killed is done again")


@pytest.mark.slow
@pytest.mark.faults(3, "SIGKILL inside a save", "before the rename the checkpoint before stands, after it the new one")
@pytest.mark.parametrize(("kind", "first"), [("before", 4), ("half", 4), ("after", 5)])
def test_killed_inside_a_save(kind, first, child, tmp_path):
    folder = tmp_path / "run"
    status, _, said = child("adder", folder, f"{kind}:4")
    assert status == -signal.SIGKILL, said
    left = [path.name for path in folder.glob(".aside-*")]
    assert bool(left) == (kind != "after")
    assert ends_the_same(child, "adder", folder) == first
    assert not list(folder.glob(".aside-*"))


@pytest.mark.slow
@pytest.mark.faults(2, "SIGTERM or Ctrl-C while distilling", "kept, status 75 within 10 s, then the same bits")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_in_order(number, child, tmp_path, record_property):
    folder, ready = tmp_path / "run", tmp_path / "ready"
    process = child("adder", folder, f"ready:{ready}", wait=False)
    while not ready.exists() and process.poll() is None:
        time.sleep(0.01)
    start = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    took = time.monotonic() - start
    assert process.returncode == 75 and took < 10, (process.returncode, took, said)
    assert f"stopped by {number.name}" in said and "of 8 steps are done, and kept" in said
    assert ends_the_same(child, "adder", folder) > 1
    record_property("lost", "nothing")


@pytest.mark.slow
@pytest.mark.faults(2, "SIGTERM inside a step that takes a minute", "status 143 within the grace; what was kept stands")
def test_a_signal_does_not_wait_for_a_long_step(child, tmp_path, record_property):
    process = child("slow", tmp_path / "run", wait=False, DDJAX_GRACE="2")
    while not (tmp_path / "run.lock").exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(4)  # by now the step is at work
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143 and time.monotonic() - start < 10, said
    assert "the previous checkpoint remains" in said
    record_property("lost", "the step that was under way")


@pytest.mark.slow
@pytest.mark.faults(11, "a second process on the run", "refused, with the host and process that hold it")
def test_a_second_process_is_told_who_is_at_it(child, tmp_path):
    first = child("slow", tmp_path / "run", wait=False)
    while not (tmp_path / "run.lock").exists() or not (tmp_path / "run.lock").read_text():
        assert first.poll() is None
        time.sleep(0.05)
    status, _, said = child("slow", tmp_path / "run")
    assert status == 1 and f"is held by process {first.pid} on" in said, said
    first.kill()
    first.communicate()
    assert str(first.pid) in (tmp_path / "run.lock").read_text()
    ends_the_same(child, "adder", tmp_path / "run")  # the note of a dead process stops nobody
