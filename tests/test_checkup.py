"""The check-up of an accelerator: jobs that fail, hang or find no time, its page, and the whole in its quick form."""

import json
import pathlib
import sys

import numpy as np
import pytest

from experiments import checkup
from experiments.accelerator import jobs, plan
from experiments.accelerator.page import page


def python(code, limit=20.0, **more):
    return jobs.Job("speed", "job", [sys.executable, "-c", code], limit, **more)


def test_rows_come_from_lines_of_json_and_a_failure_adds_its_reason():
    code = "print('words'); print('{\"name\": \"a\"}'); print('{\"broken'); raise SystemExit('it broke')"
    result = jobs.run_one(python(code), jobs.Clock(60))
    first, last = result.rows
    assert first == {"section": "speed", "job": "job", "name": "a"}
    assert last[jobs.FAILED] == "status 1: it broke" and "words" in result.output


@pytest.mark.slow
def test_a_job_that_hangs_is_stopped_with_its_children_and_keeps_its_rows(monkeypatch):
    monkeypatch.setattr(jobs, "LEAST", 0.1)
    code = (
        'import subprocess, sys; print(\'{"name": "a"}\', flush=True); '
        "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    )
    clock = jobs.Clock(60)
    rows = jobs.run_one(python(code, limit=2.0), clock).rows
    assert rows[0]["name"] == "a" and rows[1][jobs.FAILED].startswith("stopped after 2 s") and clock.spent() < 30


def test_a_job_without_time_is_skipped_and_says_so():
    (row,) = jobs.run_one(python("print(1)"), jobs.Clock(6.0)).rows
    assert row[jobs.SKIPPED] == "4 s were left for it of the budget of 6 s"


def test_jobs_that_measure_time_run_after_all_others():
    ended = []
    both = [python("pass", alone=True), python("import time; time.sleep(0.5)")]
    jobs.run_all(both, jobs.Clock(60), 2, lambda result: ended.append(result.job.alone))
    assert ended == [False, True]


def test_nothing_goes_on_if_the_check_up_is_stopped():
    clock, sleeping = jobs.Clock(600), "import time; time.sleep(60)"

    def stopped(result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.run_all([python("pass"), python(sleeping, 60.0), python(sleeping, 60.0)], clock, 2, stopped)
    assert clock.spent() < 50


OUTPUT = """
tests/test_gpu.py::test_steps[kip] PASSED      [ 50%]
[gw1] [100%] FAILED tests/test_gpu.py::test_steps[datm]
=========== short test summary info ===========
FAILED tests/test_gpu.py::test_steps[datm] - AssertionError: images differ
"""


def test_verdicts_are_read_with_and_without_workers():
    found = {row["name"]: row for row in plan.verdicts(OUTPUT)}
    assert {name: row["verdict"] for name, row in found.items()} == {
        "test_steps[kip]": "passed",
        "test_steps[datm]": "failed",
    }
    assert found["test_steps[datm]"]["why"] == "AssertionError: images differ"


@pytest.mark.parametrize("backend", plan.PLATFORMS)
def test_every_section_has_jobs_on_every_platform(tmp_path, backend):
    made = plan.jobs("cifar10.npz", tmp_path, backend, False, ())
    assert {job.section for job in made} == {*plan.SECTIONS, "compile"}
    assert len({(job.section, job.name) for job in made}) == len(made)
    assert [job.name for job in plan.jobs(None, tmp_path, backend, False, ("tests",))] == ["pytest -m gpu"]


def test_the_default_precision_comes_first():
    from ddjax.precision import DEFAULTS

    assert {backend: names[0] for backend, names in plan.PRECISIONS.items()} == DEFAULTS


def test_a_second_check_up_does_not_find_the_cells_of_the_first(tmp_path):
    next(plan.cells(None, tmp_path, False))
    (tmp_path / "cells-0/runs/old").mkdir(parents=True)
    (tmp_path / "cells-0/runs/old/row.json").write_text('{"status": "done"}')
    job = next(plan.cells(None, tmp_path, False))
    assert job.rows("") == []


def test_benchmarks_exist():
    from experiments.benchmarks import BENCHMARKS

    assert {name for kinds in plan.TIMED.values() for names in kinds for name in names} <= BENCHMARKS.keys()


def test_the_grids_hold_a_cell_of_each_method_whose_settings_are_understood(tmp_path):
    from ddjax.distillers import DISTILLERS
    from experiments.running.shared import pieces
    from experiments.sweeping import grid

    found = []
    for job in plan.cells("some 😀 set.npz", tmp_path, False):
        path = job.command[job.command.index("--config") + 1]
        for cell in grid.cells(grid.from_file(pathlib.Path(path))):
            pieces(cell)
            assert cell.dataset == "some 😀 set.npz" and cell.rate == 0.4
            found.append(cell.method)
    assert {"rcig", "datm", "dance", "full"} <= set(found) <= {*DISTILLERS, "full"}


def test_rows_of_a_sweep_are_read_and_a_failed_cell_says_why(tmp_path):
    for number, row in enumerate([{"status": "done", "last_acc": 0.5}, {"status": "failed", "reason": "no memory"}]):
        (tmp_path / "runs" / str(number)).mkdir(parents=True)
        (tmp_path / "runs" / str(number) / "row.json").write_text(json.dumps(row))
    first, second = plan.stored(tmp_path, "")
    assert first["last_acc"] == 0.5 and jobs.FAILED not in first and second[jobs.FAILED] == "no memory"


def test_the_page_shows_what_is_known_of_each_section():
    rows = [
        {"section": "tests", "job": "t", "name": "test_a", "verdict": "passed", "why": ""},
        {"section": "tests", "job": "t", "name": "test_b", "verdict": "failed", "why": "a | b differs"},
        {"section": "compile", "job": "c", "name": "train", "products": "float32", "compile_s": 40.0},
        {"section": "speed", "job": "s", "name": "train", "products": "float32", "seconds": 0.5, "gflop": 1000.0}
        | {"gemm_fraction": 0.25, "peak_mib": 7.0, "compile_s": 1.0},
        {"section": "fleet", "job": "f", "name": "rcig, a fleet of 5", "seconds": 0.01, "ratio": 1.5},
        {"section": "cells", "job": "dance", "method": "dance", "last_acc": 0.25, "skipped": 0},
        {"section": "cells", "job": "rcig", "name": "rcig", jobs.FAILED: "status 1: no memory"},
        {"section": "pytorch", "job": "p", "name": "p", jobs.SKIPPED: "2 s were left"},
    ]
    text = page({"hardware": "1 x H100"}, rows)
    assert "1 passed, 1 failed" in text and r"a \| b differs" in text and "1 x H100" in text
    assert "|  500 |         2 |      0.25 |" in text and " 40 |" in text, text
    assert "| dance    |" in text and " 25 |" in text
    assert "status 1: no memory" in text and "skipped: 2 s were left" in text


def test_an_unknown_section_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"unknown section 'test'.*Did you mean 'tests'"):
        checkup.checkup(tmp_path / "out", only=("test",))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_quick_form_writes_rows_a_page_and_a_log(tmp_path, cache, capsys):
    np.savez(tmp_path / "set.npz", images=np.arange(60 * 64, dtype=np.uint8).reshape(60, 8, 8, 1), labels=[0, 1] * 30)
    images, out = str(tmp_path / "set.npz"), tmp_path / "out"
    status = checkup.checkup(out, images=images, only=("cells",), quick=True, budget=600.0)
    text = (out / "page.md").read_text()
    assert status == 0, text
    assert "| random   |" in text and "cores (" in text
    assert (out / "rows.jsonl").read_text().count("\n") == 2 and "experiments.sweep" in (out / "log.txt").read_text()
    assert capsys.readouterr().out.rstrip().endswith(text.rstrip())
