"""The pilot: a set on the way is the set of a shorter run, and the verdict says what was cut short."""

import json
from unittest import mock

import numpy as np
import pytest

from ddjax.precision import asked
from experiments.display.progress import View
from experiments.pilot import panels, pilot, thinned, verdict
from experiments.running import curves
from experiments.running import run as running
from experiments.running.config import Experiment
from experiments.running.curves import snapshots
from experiments.running.distilling import distill_cells
from experiments.running.shared import Shared, make_ready

CELL = {"method": "dm", "ipc": 1, "width": 4, "depth": 1, "limit": 100, "students": 1, "protocol": "quick"}
TOML = """
noises = [["clean", 0.0]]
methods = ["random", "full"]
ipc = [1]
seeds = [0]
protocols = ["quick"]
[everywhere]
width = 4
depth = 1
epochs = 2
students = 1
limit = 100
"""


@pytest.mark.slow
def test_a_set_on_the_way_is_that_of_a_run_of_so_many_steps():
    few = {"steps": 4, "options": ("batch=8", "augment=flip")}
    cells = [Experiment(**CELL, rate=rate, **few).settled() for rate in (0.0, 0.4)]
    shared = Shared()
    on_the_way = snapshots([make_ready(cell, shared) for cell in cells], [0, 2, 4], shared)
    whole = distill_cells([make_ready(cell, shared) for cell in cells], shared, View(quiet=True))
    for made, run in zip(on_the_way[-1], whole, strict=True):
        np.testing.assert_allclose(made.images, run.distilled.images, atol=1e-6)
    moved = [float(np.abs(np.asarray(row[0].images) - np.asarray(on_the_way[0][0].images)).max()) for row in on_the_way]
    assert moved[0] == 0 and moved[1] > 0 and moved[2] > 0


@pytest.mark.slow
def test_the_pilot_draws_full_training_and_leaves_out_selections(tmp_path, capsys):
    (tmp_path / "grid.toml").write_text(TOML)
    assert pilot(config=tmp_path / "grid.toml", out=tmp_path / "out", quiet=True) == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "curves.jsonl").read_text().splitlines()]
    assert [(row["method"], row["noise"], row["seed"], len(row["curve"]["memorised"])) for row in rows] == [
        ("full", "clean", 7, 2),
        ("full", "symmetric", 7, 2),
    ]
    assert "not memorised" in capsys.readouterr().out and (tmp_path / "out" / "curves.svg").exists()
    with pytest.raises(ValueError, match="--seed 0 is a seed of the grid"):
        pilot(config=tmp_path / "grid.toml", out=tmp_path / "out", seed=0)


@pytest.mark.slow
def test_the_curve_of_a_robust_rule_is_that_of_its_run():
    cell = Experiment(**CELL | {"method": "elr"}, epochs=2).settled()
    [curve] = curves.curves([cell], (1.0,), Shared(), View(quiet=True))
    seen = running.run(cell).scores.curves
    assert curve["accuracy"] == seen["test_acc"][0].tolist() and curve["memorised"] == seen["given_acc"][0].tolist()


def test_cleaned_sets_of_different_sizes_are_distilled_one_by_one(monkeypatch):
    together = []

    def snapshots(cells, stops, shared):
        together.append(len(cells))
        return [[None] * len(cells) for _ in stops]

    ready = mock.Mock(**{"parsed.on_all": False, "parsed.wrapper": "prune", "method.steps.return_value": 8})
    monkeypatch.setattr(curves, "make_ready", lambda *_: ready)
    monkeypatch.setattr(curves, "snapshots", snapshots)
    monkeypatch.setattr(curves, "score_students", lambda cells, *_: [(None, {"last_acc": 0.5})] * len(cells))
    cells = [Experiment(method="prune+dm", rate=rate) for rate in (0.0, 0.4)]
    made = curves.curves(cells, (0.5, 1.0), Shared(), View(quiet=True))
    assert together == [1, 1] and made == [{"steps": [4, 8], "accuracy": [0.5, 0.5]}] * 2


@pytest.mark.parametrize("methods", ['["random"]', '["random", "dm"]'])
def test_a_grid_without_a_curve_is_refused(tmp_path, methods):
    text = TOML.replace('["random", "full"]', methods) + "[of_method.dm.0]\nsteps = 0\n"
    (tmp_path / "grid.toml").write_text(text)
    with pytest.raises(ValueError, match=r"^random.*: no steps and no epochs .* \(--methods\)"):
        pilot(config=tmp_path / "grid.toml", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_curves_have_the_precision_of_the_sweep(monkeypatch):
    seen = []
    monkeypatch.setattr(curves, "make_ready", lambda *args: 1 / seen.append(asked()))
    for precision in ("bfloat16_3x", None):
        with pytest.raises(TypeError):
            curves.curves([Experiment(precision=precision)], (1.0,), Shared(), View(quiet=True))
    assert seen == ["bfloat16_3x", "float32"]


ROW = {
    "dataset": "digits",
    "method": "dm",
    "ipc": 10,
    "baseline": "B-COSINE",
    "noise": "symmetric",
    "rate": 0.4,
    "seconds": 2,
    "steady_s": 1,
}


@pytest.mark.parametrize(
    ("accuracy", "words"), [([0.1, 0.3, 0.34], "; flat at 4"), ([0.1, 0.3, 0.36], "not flat at 4")]
)
def test_a_curve_is_flat_within_five_points_of_its_best(accuracy, words):
    assert words in verdict(ROW | {"curve": {"steps": [0, 4, 8], "accuracy": accuracy}})


@pytest.mark.parametrize(("last", "words"), [(0.96, ": memorised"), (0.94, ": not memorised")])
def test_full_training_has_memorised_at_95_percent(last, words):
    curve = {"epochs": [1, 2], "accuracy": [0.2, 0.3], "memorised": [0.5, last]}
    row = ROW | {"ipc": None, "curve": curve, "augment": "none"}
    assert words in verdict(row) and "memorised" not in verdict(row | {"augment": "dsa"})
    assert panels([row])[0].count("given labels") >= 1


def test_each_data_set_and_rule_has_a_panel():
    row = ROW | {"ipc": None, "curve": {"epochs": [1, 2], "accuracy": [0.2, 0.3], "memorised": [0.5, 0.6]}}
    drawn = panels([row | {"method": "full"}, row | {"method": "elr"}])
    assert len(drawn) == 2 and "elr (B-COSINE)" in drawn[0] and "full (B-COSINE)" in drawn[1]
    drawn = panels([row | {"method": "full"}, row | {"method": "full", "dataset": "mnist"}])
    assert len(drawn) == 2 and "mnist: full (B-COSINE)" in drawn[1]


def test_long_curves_are_thinned_and_keep_their_ends():
    points = [(x, 0.0, 0.0) for x in range(1, 51)]
    assert thinned(points)[0][0] == 1 and thinned(points)[-1][0] == 50 and len(thinned(points)) <= 8
