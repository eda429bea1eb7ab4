"""The commands as a user runs them, small."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from ddjax.distilled import saving
from ddjax.storage.rows import append, fingerprint, read, to_line
from experiments import one
from experiments.display import tables
from experiments.one import Settings
from experiments.running.config import Experiment, from_file

KEYS = {
    *("dataset", "noise", "rate", "effective_rate", "noise_checksum", "method", "ipc", "seed", "protocol"),
    *("last_acc", "best_acc", "students", "wall_s", "fingerprint", "versions"),
}


def run(settings, capsys):
    assert one.one(dataclasses.replace(settings, json=True, quiet=True)) == 0
    printed = capsys.readouterr().out
    return json.loads(printed.splitlines()[-1]), printed


def quick(tmp_path, **fields):
    small = {"epochs": 3, "students": 2, "width": 4, "limit": 200, "protocol": "quick", "out": tmp_path}
    return Settings(**small | fields)


def test_one_scores_a_selection(tmp_path, capsys):
    settings = quick(tmp_path, method="kcenter", ipc=2, options=("features=pixels",))
    row, printed = run(settings, capsys)
    assert row.keys() >= KEYS
    assert row["method"] == "kcenter" and row["images"] == 20 and len(row["students"]) == 2
    assert 0 <= row["last_acc"] <= 1 and row["last_acc"] == pytest.approx(np.mean(row["students"]))
    assert 0.3 < row["effective_rate"] < 0.5
    assert read(tmp_path / "results.jsonl")[-1] == row
    folder = next(tmp_path.glob("digits-*"))
    saved = saving.load_distilled(folder / "distilled")
    assert saved.images.shape == (20, 8, 8, 1) and json.loads(saved.provenance)["noise"]["kind"] == "symmetric"
    assert {path.name for path in folder.glob("*.png")} == {"images.png", "confusion.png"}
    assert "test accuracy" in printed


def test_one_trains_on_the_full_set(tmp_path, capsys):
    row, printed = run(quick(tmp_path, method="full"), capsys)
    assert row.keys() >= KEYS and row["protocol"] == "B-COSINE" and row["ipc"] is None
    assert row["moments"].keys() == {"last", "picked", "best"}
    assert row["last_acc"] <= row["best_acc"]
    assert all(word in printed for word in ("train, given labels", "train, clean labels", "picked on hold-out"))
    assert len(list(tmp_path.glob("digits-full-*/curves.png"))) == 1


@pytest.mark.slow
def test_dd_ranking_compares_with_random_and_full(tmp_path, capsys):
    fields = {"method": "herding", "ipc": 2, "protocol": "dd-ranking", "students": 1, "options": ("features=pixels",)}
    row, printed = run(quick(tmp_path, **fields), capsys)
    assert row["hlr"] == pytest.approx(row["accuracies"]["full"] - row["accuracies"]["synthetic_hard"])
    assert row["last_acc"] == row["accuracies"]["synthetic"] and "HLR" in printed


@pytest.mark.slow
def test_noise_that_looks_at_the_images(tmp_path, capsys):
    for kind in ("part_dependent", "pmd"):
        row, _ = run(quick(tmp_path, method="full", noise=kind, rate=0.3), capsys)
        assert 0.15 < row["effective_rate"] < 0.45


def test_clean_labels_need_no_rate(tmp_path, capsys, monkeypatch):
    small = "--epochs 3 --students 2 --limit 200 --width 4 --protocol quick"  # the programs of the test above
    monkeypatch.setattr(sys, "argv", ["one", "--noise", "clean", *small.split(), "--out", str(tmp_path), "--quiet"])
    with pytest.raises(SystemExit) as end:
        one.command()
    assert end.value.code == 0 and "clean noise: 0.0 %" in capsys.readouterr().out


def test_settings_come_from_a_file_and_flags_win(tmp_path, monkeypatch):
    file = tmp_path / "settings.toml"
    file.write_text('method = "random"\nipc = 5\noptions = ["features=pixels"]\n')
    monkeypatch.setattr(one, "one", lambda settings: seen.append(settings) or 0)
    for words in (["--config", str(file)], [f"--config={file}"]):
        seen = []
        monkeypatch.setattr(sys, "argv", ["one", *words, "--ipc", "7"])
        with pytest.raises(SystemExit):
            one.command()
        assert (seen[0].method, seen[0].ipc, seen[0].options) == ("random", 7, ("features=pixels",))
    file.write_text('ipc = "3"\n')
    with pytest.raises(ValueError, match=r"\.toml: ipc must be a whole number, at least 1; got '3'"):
        from_file(file)
    file.write_text('mthod = "random"\n')
    with pytest.raises(ValueError, match="Did you mean 'method'"):
        from_file(file)
    file.write_text('methods = ["random"]\n')
    with pytest.raises(ValueError, match="describes a grid: run it with python"):
        from_file(file)


def test_flags_that_a_method_does_not_read_are_named():
    given = {"steps": 3, "ipc": 5, "baseline": "B-COSINE", "holdout": 0.2}
    for method, protocol, unread in [
        ("random", "common", ["--steps", "--baseline", "--holdout"]),
        ("dance", "dd-ranking", ["--holdout"]),
        ("relabel+dance", "common", ["--holdout"]),
        ("full", "common", ["--steps", "--ipc"]),
        ("dance+relabel", "common", []),
    ]:
        assert one.without_effect(Experiment(method=method, protocol=protocol, **given)) == unread, method
        assert one.without_effect(Experiment(method=method, protocol=protocol)) == []


def test_fingerprints_name_configurations():
    default, same, other = (e.settled() for e in (Experiment(), Experiment(rate=0.4), Experiment(seed=1)))
    assert fingerprint(default) == fingerprint(same) != fingerprint(other)
    assert Experiment(noise="clean").settled().rate == 0.0
    whole = {"rate": 1, "imbalance": 2, "holdout": 0}
    fractions = {name: float(value) for name, value in whole.items()}
    assert fingerprint(Experiment(**whole).settled()) == fingerprint(Experiment(**fractions).settled())


def test_rows_are_strict_json(tmp_path):
    row = {"a": float("nan"), "b": np.float32(0.5), "c": [np.arange(2)], "d": None}
    assert json.loads(to_line(row)) == {"a": None, "b": 0.5, "c": [[0, 1]], "d": None}
    append(tmp_path / "rows.jsonl", row)
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write("{broken\n")
    with pytest.raises(ValueError, match="line 2"):
        read(tmp_path / "rows.jsonl")


def test_percentages():
    assert tables.percent(None) == "-" and tables.percent(0.5) == "50.0 %"


@pytest.mark.slow
def test_a_learned_method_leaves_its_log(tmp_path, capsys):
    wishes = ("pool_size=2", "batch=32", "inner_rate=1e-3", "hinv_rate=1e-2")
    settings = quick(tmp_path, method="rcig", ipc=1, depth=1, steps=3, epochs=2, protocol="rcig", options=wishes)
    run(settings, capsys)
    [log] = tmp_path.glob("*/log.csv")
    [kept] = tmp_path.glob("*/distilled.npz")
    assert not saving.load_distilled(kept.with_suffix("")).flip  # a mirrored digit is another character
    lines = log.read_text().splitlines()
    assert "loss" in lines[0].split(",") and [line.split(",")[0] for line in lines[1:]] == ["0", "1", "2"]
