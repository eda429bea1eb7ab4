"""Killed anywhere, a run goes on and ends in the bits of one that was left alone."""

import json
import random
import signal
import time

import faults_child
import processes
import pytest

from ddjax.distillers import DISTILLERS

KILLS = 5


@pytest.fixture
def child(tmp_path):
    """A function that starts `faults_child.py`."""
    own = {"DDJAX_CACHE": tmp_path / "cache"}

    def start(*words, **more):
        return processes.start(processes.HERE / "faults_child.py", *words, **own | more)

    return start


def ends_the_same(child, name, folder):
    found = json.loads(processes.ended(child(name, folder)).splitlines()[-1])
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
        processes.ended(child(name, folder, f"report:{step}"), -signal.SIGKILL)
    first = ends_the_same(child, name, folder)
    assert first == max(steps), "the run began anew, or trusted a step that was not kept"
    record_property("lost", "nothing; the step in which it was killed is done again")


@pytest.mark.slow
@pytest.mark.faults(3, "SIGKILL inside a save", "before the rename the checkpoint before stands, after it the new one")
@pytest.mark.parametrize(("kind", "first"), [("before", 4), ("half", 4), ("after", 5)])
def test_killed_inside_a_save(kind, first, child, tmp_path):
    folder = tmp_path / "run"
    processes.ended(child("adder", folder, f"{kind}:4"), -signal.SIGKILL)
    left = [path.name for path in folder.glob(".aside-*")]
    assert bool(left) == (kind != "after")
    assert ends_the_same(child, "adder", folder) == first
    assert not list(folder.glob(".aside-*"))


@pytest.mark.slow
@pytest.mark.faults(2, "SIGTERM or Ctrl-C while distilling", "kept, status 75 within 10 s, then the same bits")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_in_order(number, child, tmp_path, record_property):
    folder, ready = tmp_path / "run", tmp_path / "ready"
    process = child("adder", folder, f"ready:{ready}")
    while not ready.exists() and process.poll() is None:
        time.sleep(0.01)
    start = time.monotonic()
    process.send_signal(number)
    said = processes.ended(process, 75)
    assert time.monotonic() - start < 10, said
    assert f"stopped by {number.name}" in said and "of 8 steps are done, and kept" in said
    assert ends_the_same(child, "adder", folder) > 1
    record_property("lost", "nothing")


@pytest.mark.slow
@pytest.mark.faults(2, "SIGTERM inside a step that takes a minute", "status 143 within the grace; what was kept stands")
def test_a_signal_does_not_wait_for_a_long_step(child, tmp_path, record_property):
    process = child("slow", tmp_path / "run", DDJAX_GRACE="2")
    while not (tmp_path / "run.lock").exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(4)  # by now the step is at work
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said = processes.ended(process, 143)
    assert time.monotonic() - start < 10, said
    assert "the previous checkpoint remains" in said
    record_property("lost", "the step that was under way")


@pytest.mark.slow
@pytest.mark.faults(11, "a second process on the run", "refused, with the host and process that hold it")
def test_a_second_process_is_told_who_is_at_it(child, tmp_path):
    first = child("slow", tmp_path / "run")
    while not (tmp_path / "run.lock").exists() or not (tmp_path / "run.lock").read_text():
        assert first.poll() is None
        time.sleep(0.05)
    said = processes.ended(child("slow", tmp_path / "run"), 1)
    assert f"is held by process {first.pid} on" in said, said
    first.kill()
    first.communicate()
    assert str(first.pid) in (tmp_path / "run.lock").read_text()
    ends_the_same(child, "adder", tmp_path / "run")  # the note of a dead process stops nobody
