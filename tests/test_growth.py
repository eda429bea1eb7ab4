"""The benchmark of growth at sizes of a toy, its exponents and its picture."""

import json

import pytest

from experiments.benchmarks import growth

AXES = {
    "images": [growth.Size(24, 2, 1), growth.Size(48, 2, 1)],
    "classes": [growth.Size(48, 2, 1), growth.Size(48, 3, 1)],
    "ipc": [growth.Size(24, 2, 1), growth.Size(24, 2, 2)],
}


def test_images_in_a_file(monkeypatch, capsys, tmp_path):
    small = {"axes": {"images": [growth.Size(24, 2, 1), growth.Size(48, 2, 1)]}, "shape": (16, 16, 3)}
    monkeypatch.setitem(growth.PROBLEMS, "imagenet", growth.PROBLEMS["imagenet"]._replace(**small))
    growth.alone("imagenet", "random", str(tmp_path))
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"images-24x16x16x3.npy", "images-48x16x16x3.npy"}


def test_each_stage_has_a_row_at_each_size_and_a_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(growth, "AXES", AXES)
    monkeypatch.setitem(growth.PROBLEMS, "growth", growth.PROBLEMS["growth"]._replace(axes=AXES))
    for name in (growth.DATA, "random"):
        growth.alone("growth", name, str(tmp_path))
    printed = capsys.readouterr().out
    rows = [json.loads(line) for line in printed.splitlines()]
    stages = ["noise and statistics", "epoch", "predictions", "preparation", "step"]
    assert [row["stage"] for row in rows] == stages[:3] * 4 + stages[3:] * 4
    assert all(row["seconds"] > 0 for row in rows)
    for row in rows:  # memory of so little work is noise
        row["peak_mib"] = 10.0 * row["images"] * row["ipc"] ** 2
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    growth.write(tmp_path / "rows.jsonl")
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 2 + len(stages) and table[-1].startswith("| step | random | ")
    found = growth.exponents(rows)["step", "random"]
    assert [found[axis][1] for axis in AXES] == pytest.approx([1, 0, 2])
    assert "</svg>" in (tmp_path / "rows.svg").read_text()
