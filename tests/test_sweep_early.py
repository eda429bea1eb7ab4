"""The report of a sweep that still runs."""

import dataclasses
import json
import pathlib
from unittest import mock

from experiments.running.config import Experiment
from experiments.sweep import sweep
from experiments.sweeping import early

STUDY = pathlib.Path(__file__).parents[1] / "experiments" / "results" / "digits_study" / "rows.jsonl"
TOML = """
noises = [["clean", 0.0]]
methods = ["random"]
ipc = [1]
seeds = [0, 1]
[everywhere]
width = 4
depth = 1
epochs = 2
students = 1
limit = 150
"""


@dataclasses.dataclass
class Rows:
    """Stands for a store."""

    there: set

    def done(self, cell):
        return cell in self.there


def test_the_report_is_written_for_each_whole_seed_and_then_from_time_to_time(monkeypatch):
    cells = [Experiment(method=method, seed=seed) for seed in (0, 1, 2) for method in ("random", "full")]
    store, written, clock = Rows(set()), [], [100.0]
    monkeypatch.setattr(early.time, "monotonic", lambda: clock[0])
    tell = early.Early(cells, store, written.append)
    for cell, seconds, expected in zip(
        cells, (1, 1, 1, 100, 70, 1), ([], [True], [True], [True, True], [True, True, False], None), strict=True
    ):
        store.there.add(cell)
        clock[0] += seconds
        tell.landed()
        # the last report is that of the finished sweep
        assert expected is None or written == expected
    assert len(written) == 3


def test_the_table_grows_and_says_where_the_page_is(tmp_path):
    study = [json.loads(line) for line in STUDY.read_text().splitlines()]
    rows = {Experiment(**row["config"]): row for row in study if row["method"] == "random" and row["noise"] == "clean"}
    store, page = mock.Mock(row=rows.get), tmp_path / "report.html"
    assert early.so_far([Experiment()], store, page).startswith("Figures and verdicts when all runs of a seed are done")
    first = early.so_far([cell for cell in rows if cell.seed == 0], store, page)
    assert "mean of 1 seed(s)" in first and "random, 10 per class" in first and " +- " not in first.split("\n", 1)[1]
    page.touch()
    whole = early.so_far([*rows, Experiment()], store, page)
    assert "mean of 10 seed(s)" in whole and "93.2 +- 0.4" in whole
    assert "verdicts so far" in whole and whole.splitlines()[-1] == str(page)


def test_a_sweep_shows_its_first_seed_before_it_ends(tmp_path, capsys):
    (tmp_path / "grid.toml").write_text(TOML)
    assert sweep(config=tmp_path / "grid.toml", out=tmp_path / "out", workers=1, quiet=False) == 0
    out = capsys.readouterr().out
    assert "1 are missing, 0 failed; 1 of 2 seeds are complete" in out
    assert out.index("mean of 1 seed(s)") < out.index("mean of 2 seed(s)")
    page = (tmp_path / "out" / "report" / "report.html").read_text()
    assert 'http-equiv="refresh"' not in page  # the last page stays
