"""A sweep does what is missing, once, and survives what happens to it."""

import dataclasses
import errno
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ddjax.storage.rows import fingerprint
from experiments.running import distilling
from experiments.running.config import Experiment
from experiments.running.run import Outcome, run
from experiments.running.shared import Shared
from experiments.sweep import sweep
from experiments.sweeping import grid as grids
from experiments.sweeping import planning
from experiments.sweeping.grid import cells, narrowed
from experiments.sweeping.presets import PRESETS
from experiments.sweeping.run import bundles, groups, run_group
from experiments.sweeping.store import Store

TOML = """
noises = [["clean", 0.0], ["symmetric", 0.4]]
methods = ["random"]
ipc = [1]
seeds = [0, 1]
protocols = ["quick"]
[everywhere]
width = 4
depth = 1
epochs = 2
students = 1
limit = 150
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "quick.toml"
    path.write_text(TOML)
    return path


def rows_of(out):
    return {path.parent.name: json.loads(path.read_text()) for path in out.glob("runs/*/row.json")}


def numbers(row):
    return {name: row[name] for name in ("last_acc", "students", "confusion", "noise_checksum", "student_rate")}


@pytest.mark.slow
def test_a_sweep_runs_what_is_missing_and_side_by_side_gives_the_same(config, tmp_path, capsys):
    out, together = tmp_path / "out", tmp_path / "together"
    board = tmp_path / "board" if importlib.util.find_spec("tensorboardX") else None
    assert sweep(config=config, out=out, most=3, workers=1, quiet=True, tensorboard=board) == 0
    assert board is None or len(list(board.glob("digits-*-random-1-*/events.*"))) >= 3
    first = rows_of(out)
    assert len(first) == 3 and all(row["status"] == "done" for row in first.values())
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/row.json")}
    assert sweep(config=config, out=out, workers=1, quiet=True) == 0
    assert len(rows_of(out)) == 4 and all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert (out / "report" / "report.html").exists()
    assert sweep(config=config, out=out, dry_run=True) == 0
    assert "4 cells, 4 of them present" in capsys.readouterr().out

    assert sweep(config=config, out=together, fleet=True, workers=1, quiet=True) == 0
    for name, row in rows_of(together).items():
        assert row["last_acc"] == pytest.approx(rows_of(out)[name]["last_acc"], abs=0.02)


@pytest.mark.slow
def test_a_set_is_distilled_once_for_all_protocols_and_processes(config, tmp_path, monkeypatch):
    text = config.read_text().replace('["random"]', '["random", "full"]').replace("seeds = [0, 1]", "seeds = [0]")
    text = text.replace("[everywhere]", '[everywhere]\npreprocess = "standardize"')  # random has no space of its own
    config.write_text(text.replace('["quick"]', '["common", "dd-ranking"]'))
    assert [cell.protocol for cell in cells(grids.from_file(config)) if cell.method == "full"] == ["common"] * 2
    out, quick = (
        tmp_path / "out",
        {"config": config, "methods": ("random",), "rates": (0.4,), "workers": 1, "quiet": True},
    )
    assert sweep(out=out, protocols=("common",), **quick) == 0
    monkeypatch.setattr(distilling, "run_method", None)  # another process would have to make it anew
    config.write_text(config.read_text().replace('"dd-ranking"', '"dance"'))
    assert sweep(out=out, protocols=("dance",), **quick) == 0
    found = cells(*narrowed([grids.from_file(config)], rates=(0.4,)))
    assert sorted(map(len, bundles(groups(found, fleet=False)))) == [1, 1, 2]  # a set goes with all its scores
    first, second = rows_of(out).values()
    assert first["set"] == second["set"] and {first["protocol"], second["protocol"]} == {"common", "dance"}


@pytest.mark.parametrize(("executor", "precision"), [("here", "tensorfloat32"), ("slurm", "float32")])
def test_a_plan_has_the_precision_that_runs_would_have(config, tmp_path, monkeypatch, capsys, executor, precision):
    monkeypatch.setattr(planning, "listing", lambda made, store: {one.cell.precision for one in made.estimates})
    assert sweep(config=config, out=tmp_path, dry_run=True, machine="h200", executor=executor) == 0
    assert capsys.readouterr().out == f"{{'{precision}'}}\n"  # a driver gives Slurm jobs its own


def test_a_cell_that_fails_says_why_and_the_rest_goes_on(config, tmp_path):
    text = config.read_text().replace('["random"]', '["random", "kcenter"]')
    config.write_text(text + "\n[of_method.kcenter.0]\ndepth = 9\n")
    narrow = {"config": config, "out": tmp_path / "out", "seeds": (0,), "rates": (0.4,), "workers": 1, "quiet": True}
    assert sweep(**narrow) == 1
    rows = sorted(rows_of(tmp_path / "out").values(), key=lambda row: row["status"])
    assert [row["status"] for row in rows] == ["done", "failed"]
    assert "depth 9 does not fit" in rows[1]["reason"]
    assert list((tmp_path / "out").glob("runs/*/traceback.txt"))
    assert not Store(tmp_path / "out").done(Experiment(**rows[1]["config"]))


def test_a_sweep_without_a_score_has_no_report(config, tmp_path, capsys):
    config.write_text(config.read_text().replace("depth = 1", "depth = 9"))
    narrow = {"config": config, "out": tmp_path / "out", "seeds": (0,), "rates": (0.4,), "workers": 1, "quiet": True}
    [cell] = cells(*narrowed([grids.from_file(config)], seeds=(0,), rates=(0.4,)))
    with Store(tmp_path / "out").claimed([cell]):  # as by another process
        assert sweep(**narrow) == 0
    assert sweep(**narrow) == 1
    said = capsys.readouterr().err
    assert "1 of 1 cells failed; the reasons are in " in said and "report lists" not in said
    assert not (tmp_path / "out" / "report").exists() and rows_of(tmp_path / "out")


@pytest.mark.faults(
    6, "a fleet with one diverged cell", "it alone is failed_nan; the others keep their work and scores"
)
def test_a_fleet_keeps_its_finished_cells(tmp_path, monkeypatch):
    small = {"width": 4, "depth": 1, "epochs": 2, "students": 1, "limit": 150, "protocol": "quick"}
    cell = Experiment(dataset="digits", method="faults_methods:ODD", ipc=1, rate=0.4, **small)
    fleet = [dataclasses.replace(cell, seed=seed) for seed in (0, 1, 2)]
    store, calls = Store(tmp_path / "out", save_every=0.0), []

    def counted(cells, **more):
        calls.append(len(cells))
        return run(cells, **more)

    monkeypatch.setattr("experiments.sweeping.run.run", counted)
    assert run_group(fleet, store, store.shared()) == fleet[1:2] and calls == [3]
    first, lost, third = map(store.row, fleet)
    assert [row["status"] for row in (first, lost, third)] == ["done", "failed_nan", "done"]
    assert lost["reason"].startswith("Diverged: member 1 of 3 stopped after step 10 of 12: 10 updates in a row")
    assert "Diverged" in (store.runs / lost["fingerprint"] / "traceback.txt").read_text()
    assert first["last_acc"] > 0 and first["students"] != third["students"]
    assert first["distill_steps"] == 12 and first["skipped"] == 0
    assert not (tmp_path / "out" / "unfinished").exists()


@pytest.mark.parametrize("lost", [(1,), (1, 2)])
def test_checkpoints_of_a_fleet_stay_while_it_can_continue(tmp_path, monkeypatch, capsys, lost):
    store, fleet = Store(tmp_path), [Experiment(seed=1), Experiment(seed=2)]
    keeping = store.keeping()

    def interrupted(cells, **_):
        if len(cells) > 1:
            keeping.used.add(keeping.folder(cells))
            keeping.folder(cells).mkdir(parents=True)
        if len(cells) > 1 or cells[0].seed in lost:
            raise OSError(errno.ENOSPC, "no space")
        return [Outcome({"fingerprint": fingerprint(cells[0])}, None, {}, None, None, {})]

    monkeypatch.setattr("experiments.sweeping.run.run", interrupted)
    failed = run_group(fleet, store, Shared(keeping=keeping))
    assert [cell.seed for cell in failed] == list(lost)
    assert "2 cells failed as one program and run one by one: OSError: " in capsys.readouterr().err
    # the next sweep runs the failed cells, so it finds these checkpoints if all cells failed
    assert keeping.folder(fleet).exists() == (failed == fleet)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, 10])
def test_a_killed_sweep_ends_with_the_same_rows(config, tmp_path, kills):
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    assert sweep(config=config, out=calm, workers=1, quiet=True) == 0
    words = f"-m experiments.sweep --config {config} --out {stormy} --workers 1 --quiet"
    command = [sys.executable, *words.split()]
    environment = os.environ | {"DDJAX_CACHE": str(tmp_path / "cache")}
    for kill in range(kills):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wanted, deadline = min(kill, 3), time.monotonic() + 120
        while len(rows_of(stormy)) < wanted and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        time.sleep(0.3 * (kill % 4))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert sweep(config=config, out=stormy, workers=1, quiet=True) == 0
    assert {name: numbers(row) for name, row in rows_of(stormy).items()} == {
        name: numbers(row) for name, row in rows_of(calm).items()
    }
    assert not list(stormy.glob("runs/.aside-*"))


def test_a_wrong_option_of_one_cell_is_an_error_before_any_run(config, tmp_path):
    text = config.read_text().replace('["random"]', '["random", "kcenter"]')
    config.write_text(text + '\n[of_method.kcenter.0]\noptions = ["nonsense=1"]\n')
    with pytest.raises(ValueError, match="unknown option of method 'kcenter' 'nonsense'"):
        sweep(config=config, out=tmp_path / "out", seeds=(0,), rates=(0.4,), workers=1, quiet=True)
    with pytest.raises(ValueError, match=r"limit must be at most 1442, the training images of digits; got 1443"):
        sweep("demo", out=tmp_path / "out", limit=1443)
    config.write_text(text.replace("limit = 150", "limit = 19").replace("ipc = [1]", "ipc = [2]"))
    with pytest.raises(ValueError, match=r"ipc=2 of random is more than the 19 training images hold for each of 10 "):
        sweep(config=config, out=tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_a_grid_is_narrowed_by_its_axes(config):
    grid = grids.from_file(config)
    assert len(cells(grid)) == 4
    assert {cell.rate for cell in cells(*narrowed([grid], rates=(0.4,), seeds=(1,)))} == {0.4}
    assert {c.dataset for c in cells(*narrowed(PRESETS["figure2"], datasets=("cifar100",), ipc=(100,)))} == {"cifar100"}
    human = cells(*narrowed(PRESETS["photographs"], noises=("worst", "aggre")))
    assert {(cell.noise, cell.rate) for cell in human} == {("worst", 0.0), ("aggre", 0.0)}
    with pytest.raises(ValueError, match=r"--noises random: .*'clean', 'symmetric'"):
        narrowed(PRESETS["photographs"], noises=("random",))
    for ipc in (10, 50):  # the grid of full training has no number of images per class
        alone = cells(*narrowed(PRESETS["photographs"], methods=("full", "dm"), ipc=(ipc,)))
        assert {cell.ipc for cell in alone if cell.method == "dm"} == {ipc}
        assert sum(cell.method == "full" for cell in alone) == 2 * 9 * 3
    with pytest.raises(ValueError, match=r"--rates 0.3: .*0.4"):
        narrowed([grid], rates=(0.3,))
    with pytest.raises(ValueError, match="the grid has no cells"):
        narrowed([grids.Grid(methods=())], methods=())
