"""Checkpoints: resuming gives the same bits, damage is reported and skipped, other configurations are refused."""

import json
import logging
import os
import shutil

import adder
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fuzzing import flip, resealed

from ddjax import stopping
from ddjax.execution.distill import distill
from ddjax.execution.options import RunOptions
from ddjax.storage import rows as results
from ddjax.storage.checkpoints import Changed, Checkpoints
from ddjax.storage.files import replacing, replacing_folder

ARRAYS, MANIFEST = "checkpoint.npz", "checkpoint.json"
STEPS = 8
CONFIG = {"method": {"ipc": 1, "rate": 0.1}, "data": "a1b2"}


def run(folder, steps=STEPS, seed=0, config=CONFIG, **more):
    """All steps, a checkpoint after each chunk of two."""
    kept = Checkpoints(folder, config, seconds=0.0, **more)
    options = RunOptions(checkpoints=kept)
    return distill(adder.ADDER, adder.feed(), adder.state(seed), steps=steps, chunk=2, options=options)


@pytest.fixture(scope="module")
def whole():
    """A run that nothing happened to."""
    return distill(adder.ADDER, adder.feed(), adder.state(), steps=STEPS, chunk=2)


def same(found, whole):
    assert adder.plain(found[0]) == adder.plain(whole[0])
    for name, values in whole[1].items():
        np.testing.assert_array_equal(found[1][name], values)


def newest(folder):
    return max(folder.glob("step-*"))


def test_a_run_goes_on_from_its_newest_checkpoint(tmp_path, whole):
    folder = tmp_path / "run"
    run(folder, steps=5)
    kept = sorted(path.name for path in folder.iterdir())
    assert len(kept) == 2 and kept[1] == "step-000000005"
    calls = []
    kept = Checkpoints(folder, CONFIG, seconds=1000.0)
    found = distill(
        adder.ADDER, adder.feed(), adder.state(1), steps=STEPS, options=RunOptions(lambda *r: calls.append(r[0]), kept)
    )
    assert min(calls) == 6
    same(found, whole)
    same(run(folder), whole)  # what is finished is not done again


def test_keys_bfloat16_and_odd_shapes_come_back(tmp_path):
    state = {
        "keys": jax.random.split(jax.random.key(3, impl="rbg"), 2),
        "half": jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3),
        "none": jnp.zeros((0, 4)),
        "scalar": jnp.int8(-3),
    }
    kept = Checkpoints(tmp_path / "run", {})
    assert kept.newest(state) is None
    assert kept.save(7, state, {"loss": np.arange(7.0)})
    found = kept.newest(jax.tree.map(jnp.zeros_like, {**state, "keys": None}) | {"keys": state["keys"][::-1]})
    assert found.step == 7 and found.history["loss"].tolist() == list(range(7))
    assert [x.dtype for x in jax.tree.leaves(found.state)] == [x.dtype for x in jax.tree.leaves(state)]
    assert adder.plain(found.state) == adder.plain(state)


DAMAGE = {
    "a bit of the arrays": lambda folder: flip(folder / ARRAYS),
    "a bit of the manifest": lambda folder: flip(folder / MANIFEST),
    "truncated": lambda folder: (folder / ARRAYS).write_bytes((folder / ARRAYS).read_bytes()[:-100]),
    "a file deleted": lambda folder: (folder / ARRAYS).unlink(),
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "an empty folder": lambda folder: [path.unlink() for path in folder.iterdir()],
    "not even a folder": lambda folder: (shutil.rmtree(folder), folder.write_text("x")),
}


@pytest.mark.faults(4, "bit flip, truncation, deleted file, empty step folder", "named, skipped for the one before it")
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_skipped_for_the_one_before_it(damage, tmp_path, whole, caplog, record_property):
    folder = tmp_path / "run"
    run(folder, steps=6)
    before, last = sorted(folder.glob("step-*"))
    damage(last)
    record_property("lost", "nothing; the steps since the checkpoint before are done again")
    with caplog.at_level(logging.INFO, "ddjax.storage.checkpoints"):
        same(run(folder), whole)
    assert f"{last} is damaged" in caplog.text and f"from {before}" in caplog.text


@pytest.mark.faults(4, "all checkpoints damaged", "each named, then the run starts anew and ends the same")
def test_without_an_intact_checkpoint_a_run_starts_anew(tmp_path, whole, caplog):
    folder = tmp_path / "run"
    run(folder, steps=6)
    for path in folder.glob("step-*"):
        flip(path / ARRAYS)
    same(run(folder), whole)
    assert caplog.text.count("is damaged") == 2


@pytest.mark.faults(5, "other settings, other data, another layout, another schema", "refused, the differences listed")
def test_another_configuration_is_refused_with_what_differs(tmp_path):
    folder = tmp_path / "run"
    run(folder, steps=2)
    for config, words in [
        ({**CONFIG, "method": {"ipc": 1, "rate": 0.2}}, r"\(method\.rate: 0\.1 -> 0\.2\)"),
        ({**CONFIG, "method": {"ipc": 10, "rate": 0.2}}, r"method\.ipc: 1 -> 10; method\.rate: 0\.1 -> 0\.2"),
        ({**CONFIG, "data": "ffff"}, r'data: "a1b2" -> "ffff"'),
        ({"data": "a1b2"}, r'method: \{.*\} -> "none"'),
    ]:
        with pytest.raises(Changed, match=words + r".*--fresh"):
            run(folder, config=config)
    other = adder.ADDER._replace(init=None)
    kept = Checkpoints(folder, CONFIG)
    longer = adder.init(jax.random.key(0), jnp.zeros(4))
    with pytest.raises(Changed, match=r'state/total: \["float32", \[3\]\] -> \["float32", \[4\]\]'):
        distill(other, adder.feed(), longer, steps=4, options=RunOptions(checkpoints=kept))
    with pytest.raises(Changed, match="run has 2 steps, and 1 were asked for: start anew"):
        run(folder, steps=1)
    resealed(newest(folder) / MANIFEST, schema=99)
    with pytest.raises(Changed, match=r"schema 99; this version reads 2.*--fresh"):
        run(folder)


def test_fresh_starts_anew(tmp_path, whole):
    run(tmp_path / "run", steps=4, config={"other": 1})
    same(run(tmp_path / "run", fresh=True), whole)


def full_disk(*arguments):
    raise OSError(28, "No space left on device")


@pytest.mark.faults(11, "no space for a checkpoint", "the run goes on, the old checkpoint stands, a warning says so")
def test_a_full_disk_costs_a_checkpoint_and_no_more(tmp_path, whole, caplog, monkeypatch):
    folder = tmp_path / "run"
    run(folder, steps=3)
    there = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with monkeypatch.context() as broken:
        broken.setattr("ddjax.storage.files.sync", full_disk)
        same(run(folder), whole)
    assert "no checkpoint of step 8, the run goes on" in caplog.text and "No space left on device" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == there
    same(run(folder), whole)


@pytest.mark.faults(
    11, "no space for a file or folder of results", "what was there before is as it was, and it is said"
)
def test_a_full_disk_leaves_files_as_they_were(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file", tmp_path / "folder" / "inner"):
        path.write_text("old")
    monkeypatch.setattr("os.fsync", full_disk)
    with (
        pytest.raises(OSError, match=r"No space left on device: not written.*as it was.*file"),
        replacing(tmp_path / "file", "w") as file,
    ):
        file.write("new")
    with pytest.raises(OSError, match="No space left"), replacing_folder(tmp_path / "folder") as folder:
        (folder / "inner").write_text("new")
    monkeypatch.undo()
    rename = os.rename
    monkeypatch.setattr("os.rename", lambda a, b: full_disk() if (a / "new").exists() else rename(a, b))
    with pytest.raises(OSError, match="No space left"), replacing_folder(tmp_path / "folder") as folder:
        (folder / "new").write_text("new")
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "inner").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.faults(11, "no space for a row of a .jsonl file", "the rows before it are whole, and so is the next one")
def test_a_row_is_added_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "results.jsonl"
    results.append(path, {"a": 1})
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full_disk)
        with pytest.raises(OSError, match=r"No space left on device: the row was not added.*results.jsonl"):
            results.append(path, {"a": 2})
    results.append(path, {"a": 3})
    assert [row["a"] for row in results.read(path)] == [1, 3]
    path.write_text(path.read_text() + '{"a": ')  # its writer was killed
    results.append(path, {"a": 4})
    with pytest.raises(ValueError, match="line 3 is not JSON"):
        results.read(path)
    assert json.loads(path.read_text().splitlines()[-1]) == {"a": 4}


@pytest.mark.faults(11, "a folder that cannot be written", "said at once, with its name")
def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        run(tmp_path / "file" / "run")


def test_a_second_process_is_told_which_process_holds_the_run(tmp_path):
    kept = Checkpoints(tmp_path / "run", {})
    with kept.held(), pytest.raises(ValueError, match=r"the run in .*run is held by process \d+ on \S+ \(since 2"):
        run(tmp_path / "run")
    (tmp_path / "run.lock").write_text('{"pid": 1, "host": "gone", "since": "long ago"}')  # its process is dead
    run(tmp_path / "run")
    assert not (tmp_path / "run.lock").read_text()


def test_half_written_checkpoints_are_removed(tmp_path, whole):
    half = tmp_path / "run" / ".aside-step-000000004.abcd"
    half.mkdir(parents=True)
    (half / ARRAYS).write_bytes(b"half")
    same(run(tmp_path / "run"), whole)
    assert not half.exists()


def test_checkpoints_take_at_most_a_twentieth_of_the_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("ddjax.storage.checkpoints.run.time.monotonic", lambda: now[0])
    kept = Checkpoints(tmp_path / "run", CONFIG, seconds=10.0)
    for cost, wait in ((0.25, 10.0), (1.0, 20.0)):
        monkeypatch.setattr(kept, "_write", lambda *_, cost=cost: now.append(now.pop() + cost))
        assert kept.save(1, adder.state())
        saved = now.pop()
        for waited, due in ((wait - 0.5, False), (wait, True)):
            now[:] = [saved + waited]
            assert kept.due() == due


def test_a_stopped_run_saves_its_state(tmp_path, whole, monkeypatch, capsys):
    kept, requested = Checkpoints(tmp_path / "run", CONFIG, seconds=1000.0), iter([False, False, True])
    with monkeypatch.context() as patch:
        patch.setattr(stopping, "requested", lambda: next(requested))
        with pytest.raises(stopping.Stopped) as ended:
            options = RunOptions(checkpoints=kept)
            distill(adder.ADDER, adder.feed(), adder.state(), steps=STEPS, chunk=2, options=options)
    assert ended.value.code == stopping.STOPPED == 75
    assert "4 of 8 steps are done, and kept" in capsys.readouterr().err
    same(run(tmp_path / "run"), whole)
