"""The directory of a sweep: rows, claims and checkpoints, alone and beside other processes."""

import json
from unittest import mock

import pytest
from report_study import saved_set

from ddjax.storage.files import tidied
from ddjax.storage.rows import fingerprint
from experiments.display import cli
from experiments.display.progress import View
from experiments.running.checkpointing import Keeping
from experiments.running.config import Experiment
from experiments.running.run import Outcome
from experiments.sweeping.jobs import Ended, run_jobs
from experiments.sweeping.run import failure
from experiments.sweeping.store import Store


def test_a_failed_run_on_all_images_has_no_size(tmp_path):
    cell, store = Experiment(method="full"), Store(tmp_path)
    store.plan([cell])
    row, [planned] = failure(cell, ValueError("depth"), 1.0), json.loads((tmp_path / "plan.json").read_text())
    assert row["ipc"] is None and planned == {name: row[name] for name in planned}


def test_cells_of_the_same_grid_stay_planned_and_those_of_another_do_not(tmp_path):
    """A narrowed sweep, or another process with other seeds, into the same directory; then another grid."""
    grid, store = [Experiment(seed=seed) for seed in range(3)], Store(tmp_path)

    def planned():
        return [cell["seed"] for cell in json.loads((tmp_path / "plan.json").read_text())]

    store.plan(grid[1:], grid)
    store.plan(grid[:1], grid)
    assert planned() == [0, 1, 2]
    store.plan([grid[1]], [grid[1], Experiment(seed=9)])
    assert planned() == [1]
    (tmp_path / "plan.json").write_text("[1, 2]")
    store.plan(grid[2:], grid)
    assert planned() == [2]


def test_a_cell_that_another_process_runs_again_has_not_failed_here(tmp_path, capsys):
    """Its row is still that of the earlier run."""
    store, other, cell = Store(tmp_path), Store(tmp_path), Experiment()
    other.write([failure(cell, ValueError("earlier"), 0.0)])

    def start(jobs):
        with other.claimed([cell]):
            yield from (Ended(job, failed=job()) for job in jobs)

    assert run_jobs([[[cell]]], store, retries=0, start=start, view=View(quiet=True), landed=list) == []
    assert "1 cells are running in other processes" in capsys.readouterr().err


def test_a_cell_that_failed_before_its_process_died_keeps_its_reason(tmp_path):
    store, cells = Store(tmp_path), [Experiment(seed=0), Experiment(seed=1)]

    def start(jobs):
        store.write([failure(cells[0], ValueError("of its own"), 0.0)])
        yield Ended(jobs[0], "killed by the scheduler")

    assert run_jobs([[cells]], store, retries=0, start=start, view=View(quiet=True), landed=list) == cells
    assert store.row(cells[0])["reason"] == "ValueError: of its own"
    assert "killed by the scheduler" in store.row(cells[1])["reason"]


def test_a_stored_set_comes_with_its_cost_and_what_its_wrapper_did(tmp_path):
    spent = {"distill_s": 1.0, "skipped": 0, "cleaning": {"kept": 0.9, "wrong": 0.1}}
    Store(tmp_path).write([{"fingerprint": "a", "set": "b", "last_acc": 0.5, **spent}])
    saved_set(tmp_path / "runs" / "a" / "distilled")
    assert Store(tmp_path).distilled("b")[2] == spent and Store(tmp_path).distilled("c") is None


def test_checkpoints_of_a_failed_cell_outlive_the_next_one(tmp_path):
    keeping = Keeping(tmp_path / "unfinished")
    failed, done = Experiment(seed=1), Experiment(seed=2)
    for cell in (failed, done):
        keeping.begin()
        ready = mock.Mock(experiment=cell)
        ready.dataset.provenance, ready.prepared.noise = {"digest": "a"}, {"checksum": "b"}
        keeping.checkpoints([ready], "networks").folder.mkdir(parents=True)
    keeping.finished([done])
    assert [path.name for path in keeping.root.iterdir()] == [keeping.folder([failed]).name]


def test_a_claimed_cell_is_left_alone_and_an_unfinished_one_leaves_nothing(tmp_path):
    store, cell = Store(tmp_path), Experiment()
    with store.claimed([cell]) as mine, Store(tmp_path).claimed([cell]) as others:
        assert mine == [cell] and others == []
    with store.claimed([cell]) as mine:
        assert mine == [cell]


def test_folders_of_killed_processes_are_removed_beside_running_cells(tmp_path, monkeypatch):
    store, (killed, running, other) = Store(tmp_path), [Experiment(seed=seed) for seed in range(3)]
    for cell in (killed, running):
        (store.runs / f".aside-{fingerprint(cell)}.0").mkdir(parents=True)

    def removed(folder, name):
        with Store(tmp_path).claimed([killed, other]) as mine:
            assert mine == [other]  # only the cell of the folder is locked, so no process skips another one
        tidied(folder, name)

    monkeypatch.setattr("experiments.sweeping.store.tidied", removed)
    with store.claimed([running]), store.claimed([other]):
        pass  # their claims are files now
    with store.claimed([running]):
        store.tidy()
    assert [path.name for path in store.runs.iterdir()] == [f".aside-{fingerprint(running)}.0"]


def test_a_row_that_is_being_replaced_is_a_missing_one(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.exists", lambda path: True)  # as just before it is moved
    assert Store(tmp_path).row(Experiment()) is None and not Store(tmp_path).done(Experiment())


def test_a_damaged_row_is_named_with_the_way_out(tmp_path):
    store, cell = Store(tmp_path), Experiment()
    store.write([{"fingerprint": fingerprint(cell), "status": "done"}])
    assert store.done(cell)
    path = store.runs / fingerprint(cell) / "row.json"
    path.write_text(path.read_text()[:-5])
    with pytest.raises(ValueError, match=r"row\.json is not JSON.*: remove .*, and the cell runs again") as found:
        store.done(cell)
    with pytest.raises(SystemExit):  # and no traceback, as of an error in another package
        cli.fail(found.value)


def test_rows_of_one_program_are_written_together_or_not_at_all(tmp_path, monkeypatch):
    store, rows = Store(tmp_path), [{"fingerprint": "first"}, {"fingerprint": "second"}]

    def breaks(distilled, path):
        raise RuntimeError("disk")

    monkeypatch.setattr("experiments.sweeping.store.save_distilled", breaks)
    with pytest.raises(RuntimeError, match="disk"):
        store.write(rows, [ValueError("diverged"), Outcome({}, "digits", {}, "a set", None, {})])
    assert not list(store.runs.iterdir())
    store.write(rows)
    assert {path.name for path in store.runs.iterdir()} == {"first", "second"}
