"""Parts of the benchmarks: processes of their own, files of predictions, means, and PyTorch without an accelerator."""

import json
import subprocess
import sys
import types

import numpy as np
import pytest

from ddjax.backend import targeting
from ddjax.precision import policy
from experiments.bench import bench
from experiments.benchmarks import BENCHMARKS, experts, features, judging, pytorch, vectors
from experiments.benchmarks.measure import Settings, elsewhere, entry

TOY = """
import json, os, sys
def alone(word):
    found = {"name": word, "seconds": 1.0, "precision": os.environ["JAX_DEFAULT_MATMUL_PRECISION"]}
    print(json.dumps(found), flush=True)
    sys.exit("no memory is left")
"""


def test_a_process_of_its_own_has_the_precision_and_says_why_it_fails(tmp_path, monkeypatch, capfd):
    (tmp_path / "toy_benchmark.py").write_text(TOY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with policy("bfloat16_3x"):
        rows = elsewhere("toy_benchmark", "first")
        row = next(rows)
        with pytest.raises(subprocess.CalledProcessError, match="toy_benchmark"):
            next(rows)
    assert (row["name"], row["precision"]) == ("first", "high") and "no memory is left" in capfd.readouterr().err


def test_what_was_measured_before_an_error_is_shown(monkeypatch, capsys):
    def broken(settings):
        yield entry("first row", 0.5)
        raise ValueError("it broke")

    monkeypatch.setitem(BENCHMARKS, "broken", broken)
    with pytest.raises(ValueError, match="it broke"):
        bench(("broken",))
    assert "first row" in capsys.readouterr().out


@pytest.mark.slow
def test_vectors_are_written_once_and_judged_from_disk(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(vectors, "WIDTH", 16)
    monkeypatch.setattr(vectors, "SPREAD", 2.0)
    file = vectors.written(tmp_path, 600)
    made = np.load(file)
    assert vectors.written(tmp_path, 600) == file and sorted(tmp_path.iterdir()) == [file] and made.shape == (600, 16)
    vectors.alone(str(file))
    row = json.loads(capsys.readouterr().out)
    assert row["name"] == "600 x 16 on disk" and row["auroc"] > 0.95 and row["peak_mib"] > 0


def test_means_leave_out_what_right_labels_do_not_define():
    def rows(f1, flagged):
        found = zip(("ddjax", "argmax", "cleanlab both"), f1, flagged, strict=True)
        return [entry("", 1.0, method=method, f1=each, flagged=share, peak_mib=None) for method, each, share in found]

    made = list(judging.means(rows((0.8, 0.5, 0.6), (0.2, 0.4, 0.3)) + rows([np.nan] * 3, (0.0, 0.1, 0.02)), 2))
    assert [row["f1"] for row in made] == [0.8, 0.5, 0.6, 0.6]
    assert made[-1]["method"] == "best other" and made[-1]["flagged"] == pytest.approx(0.16)
    (undefined, *_) = judging.means(rows([np.nan] * 3, (0.0, 0.1, 0.02)), 1)
    assert np.isnan(undefined["f1"])


@pytest.mark.parametrize("benchmark", [judging.judged, features.features])
def test_a_folder_without_files_is_refused(tmp_path, benchmark):
    with pytest.raises(ValueError, match=r"--files .* holds no \.npz file"):
        next(benchmark(Settings(files=tmp_path)))


def test_nothing_is_measured_if_pytorch_does_not_see_the_accelerator(monkeypatch):
    blind = types.SimpleNamespace(device=lambda name: types.SimpleNamespace(type=name))
    blind.cuda = types.SimpleNamespace(is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", blind)
    with targeting("gpu"):
        assert list(pytorch.against_pytorch(Settings())) == []


def test_the_time_of_two_experts_in_one_program_is_per_expert(monkeypatch):
    for name in ("fleet_epoch", "compiled"):
        monkeypatch.setattr(experts, name, lambda *arguments: int)
    monkeypatch.setattr(experts, "times", lambda calls, repeats: [[1.0] * repeats for _ in calls])
    monkeypatch.setattr(
        experts, "measure", lambda name, call, gflop, repeats, **more: entry(name, 4.0, gflop, 0.5, **more)
    )
    rows = {row["name"]: row for row in experts.experts(Settings(width=4, batch=8))}
    one, two = rows["experts gsam"], rows["experts gsam x2"]
    assert (one["seconds"], two["seconds"], two["gflop"]) == (4.0, 2.0, one["gflop"])
    assert two["images_per_s"] == 3 * 8 / 2.0 and two["ratio"] == 0.5
