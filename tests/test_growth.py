"""The benchmark of growth at sizes of a toy, its exponents and its picture."""

import json

import pytest

from experiments.benchmarks import growth
from experiments.display import growth as picture

SIZES = {"images": [growth.Size(24, 2, 1), growth.Size(48, 2, 1)]}


@pytest.mark.slow
def test_each_stage_has_a_row_at_each_size(monkeypatch, capsys, tmp_path):
    small = growth.PROBLEMS["imagenet"]._replace(axes=SIZES, shape=(16, 16, 3))
    monkeypatch.setitem(growth.PROBLEMS, "imagenet", small)
    growth.alone("imagenet", "random", str(tmp_path))
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["stage"], row["images"]) for row in rows] == [
        (stage, images) for images in (24, 48) for stage in ("preparation", "step")
    ]
    assert all(row["seconds"] > 0 for row in rows)
    assert {path.name for path in tmp_path.iterdir()} == {"images-24x16x16x3.npy", "images-48x16x16x3.npy"}


def test_exponents_are_those_of_the_largest_sizes(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(picture, "AXES", SIZES)
    rows = [
        {"stage": stage, "method": "dm", **size._asdict(), "seconds": size.images**2, "peak_mib": 7.0}
        for stage in ("epoch", "preparation", "step")
        for size in SIZES["images"]
    ]
    assert picture.exponents(rows)["step", "dm"]["images"] == pytest.approx((2, 0))
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    picture.write(tmp_path / "rows.jsonl")
    assert "| step | dm | 2.0 | 0.0 |" in capsys.readouterr().out.splitlines()
    assert "</svg>" in (tmp_path / "rows.svg").read_text()


def test_rows_of_a_stopped_benchmark_are_drawn(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(picture, "AXES", SIZES | {"classes": [growth.Size(48, 2, 1), growth.Size(48, 4, 1)]})
    row = {"seconds": 2.0, "peak_mib": 7.0, "method": "dm"}
    rows = [row | {"stage": stage, **SIZES["images"][0]._asdict()} for stage in ("epoch", "preparation")]
    rows.append(row | {"stage": "epoch", **SIZES["images"][1]._asdict()})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    picture.write(tmp_path / "rows.jsonl")
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| epoch | dm | 0.0 | 0.0 | nan | nan |",
        "| preparation | dm | nan | nan | nan | nan |",
    ]
    assert "</svg>" in (tmp_path / "rows.svg").read_text()
    (tmp_path / "rows.jsonl").write_text(json.dumps(rows[0] | {"images": 5}))
    with pytest.raises(ValueError, match="no row has a size of the benchmark growth"):
        picture.write(tmp_path / "rows.jsonl")
