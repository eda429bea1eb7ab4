"""Cells on other machines: what a job asks for, what it carries, what becomes of one whose process dies."""

import contextlib
import dataclasses
import importlib.util
import io
import json
import os
import pathlib
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import pytest
from processes import Fake

from ddjax.storage.rows import fingerprint
from experiments.display.progress import View
from experiments.running.config import Experiment
from experiments.running.run import Outcome
from experiments.sweep import sweep
from experiments.sweeping import on_processes
from experiments.sweeping.executors import Where, execute, usual_workers
from experiments.sweeping.jobs import Ended, Job, Resources, environment, resources_of, run_jobs
from experiments.sweeping.store import Store

TOML = """
noises = [["clean", 0.0], ["symmetric", 0.4]]
methods = ["random", "kcenter"]
ipc = [1]
seeds = [0]
[everywhere]
width = 4
epochs = 2
students = 1
limit = 150
[of_method.kcenter.0]
depth = 9
"""
CLUSTER = """
import os, subprocess, sys
import ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
address = ray.get_runtime_context().gcs_address
sys.exit(subprocess.call([*sys.argv[1:], "--address", address]))
"""


def installed(package):
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


def test_resources_are_read_in_words():
    words = ("random:gpus=0", "gpus=1", "datm:memory=64", "cpus=4")
    assert resources_of("random", words) == Resources(cpus=4, gpus=0)
    assert resources_of("datm", words) == Resources(cpus=4, gpus=1, memory=64)
    assert resources_of("rcig", ("gpus=0.5",)).gpus == 0.5
    with pytest.raises(ValueError, match=r"'gpu'.*Did you mean 'gpus'"):
        resources_of("rcig", ("gpu=1",))
    with pytest.raises(ValueError, match="NAME=NUMBER"):
        resources_of("rcig", ("gpus=many",))
    with pytest.raises(ValueError, match="Did you mean 'rcig'"):
        resources_of("rcig", ("rcgi:gpus=1",))


def test_a_worker_is_told_where_caches_are_and_how_precise_products_are(cache):
    import jax

    with jax.default_matmul_precision("bfloat16"):
        told = environment()
    assert told["DDJAX_CACHE"] == str(cache) and told["JAX_PLATFORMS"] == "cpu"
    assert told["JAX_DEFAULT_MATMUL_PRECISION"] == "bfloat16"


def quick(seed):
    small = {"width": 4, "epochs": 2, "students": 1, "limit": 150}
    return Experiment(method="random", ipc=1, seed=seed, rate=0.4, **small)


@pytest.fixture
def instant(monkeypatch):
    """Cells that are done at once."""

    def run(cells, **_):
        rows = [{"fingerprint": fingerprint(cell), "last_acc": 0.5} for cell in cells]
        return [Outcome(row, None, {}, None, None, {}) for row in rows]

    monkeypatch.setattr("experiments.sweeping.run.run", run)


def test_a_lost_job_is_run_again_and_written_down_in_the_end(tmp_path, capsys, instant):
    store, tries = Store(tmp_path), []

    def start(jobs):
        for job in jobs:
            tries.append(job.cells[0].seed)
            if job.cells[0].seed == 0 or len(tries) < 3:
                yield Ended(job, "killed by the scheduler")
            else:
                yield Ended(job, failed=job())

    stream = io.StringIO()
    view = View(stream=stream)
    failed = run_jobs([[[quick(0)]], [[quick(1)]]], store, retries=1, start=start, view=view, landed=list)
    assert tries == [0, 1, 0, 1] and failed == [quick(0)] and "cells: 2/2" in stream.getvalue()
    assert store.row(quick(1))["status"] == "done" and "killed by the scheduler" in store.row(quick(0))["reason"]
    assert "processes of 1 jobs died" in capsys.readouterr().err


def test_a_job_does_only_what_is_missing(tmp_path, instant):
    job = Job(((quick(0),),), Store(tmp_path))
    assert job() == []
    row = tmp_path / "runs" / fingerprint(quick(0)) / "row.json"
    stamp = row.stat().st_mtime_ns
    with Store(tmp_path).claimed([quick(1)]):
        assert Job(((quick(0), quick(1)),), Store(tmp_path))() == []
    assert row.stat().st_mtime_ns == stamp and len(list(row.parent.parent.iterdir())) == 1


def test_a_process_that_dies_loses_its_job_and_no_other(tmp_path):
    jobs = [Fake(str(tmp_path / str(i)), dies=i == 0) for i in range(3)]
    ended = [one for one in on_processes.on_processes(1)(jobs) if one is not None]
    assert [one.job for one in ended] == jobs and "terminated" in ended[0].lost
    assert [one.lost for one in ended[1:]] == [None, None] and {path.name for path in tmp_path.iterdir()} == {"1", "2"}


def test_a_process_that_dies_while_it_waits_is_replaced(tmp_path):
    with contextlib.ExitStack() as pools:
        worker = on_processes.Worker(lambda: pools.enter_context(ProcessPoolExecutor(1, get_context("spawn"))))
        with pytest.raises(BrokenProcessPool):
            worker.pool.submit(os._exit, 9).result()
        (ended,) = (one for one in on_processes._run([worker], [Fake(str(tmp_path / "job"))]) if one is not None)
    assert ended.lost is None and (tmp_path / "job").exists()


def test_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    assert on_processes.shares_of_cores(2) == [{0, 5}, {2}]
    assert on_processes.shares_of_cores(4) == [{0}, {2}, {5}, {0, 2, 5}]


def test_a_method_is_repeated_where_it_was_begun(tmp_path):
    jobs = [Fake(name, methods={name}) for name in ("random", "rcig", "datm", "random", "rcig", "datm")]
    first, second = workers = [on_processes.Worker(lambda: None) for _ in range(2)]
    taken = {worker: [] for worker in workers}
    for worker in (first, second, first, second, first, second):  # each is as fast as the other
        job = jobs.pop(on_processes.following(jobs, worker, workers))
        worker.begun(job, workers)
        taken[worker].append(job.place)
    assert taken == {first: ["random", "datm", "random"], second: ["rcig", "rcig", "datm"]}  # the second one helps
    assert second.methods == {"rcig"}


def test_workers_are_for_small_images(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    assert usual_workers([quick(seed) for seed in range(3)]) == 2 and usual_workers([quick(0)]) == 1
    assert usual_workers([quick(0), dataclasses.replace(quick(1), dataset="cifar10")]) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"executor": "ray", "workers": 2}, "--workers is only for --executor here; leave it out with --executor ray"),
        ({"executor": "ray", "slurm": ("partition=gpu",)}, "--slurm is only for --executor slurm"),
        ({"executor": "slurm", "address": "auto"}, "--address is only for --executor ray"),
        ({"resources": ("gpus=1",)}, "--resources is only for --executor ray or slurm"),
        ({"executor": "slurm", "slurm": ("partition",)}, "--slurm takes NAME=VALUE; got 'partition'"),
        ({"executor": "slurm", "machine": "h20"}, "unknown machine 'h20'"),
        ({"workers": 2, "fleet": True}, "--workers 2 does not work with --fleet True"),
        ({"workers": 2, "tensorboard": pathlib.Path("board")}, "--workers 2 does not work with .*--tensorboard"),
    ],
)
def test_options_that_do_not_work_together_are_refused_before_any_work(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        sweep(out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


RUN = {"fleet": False, "machine": None, "view": View(quiet=True), "landed": None}


def test_a_finished_sweep_accepts_its_number_of_workers(tmp_path):
    assert execute([[]], Store(tmp_path), Where(workers=2), **RUN) == []


def ran(tmp_path, command):
    """Rows and exit status of a sweep run by a command line, beside the same run here."""
    config = tmp_path / "quick.toml"
    config.write_text(TOML)
    out = tmp_path / "out"
    words = [sys.executable, "-m", "experiments.sweep", "--config", str(config), "--out", str(out), "--quiet"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    root = str(pathlib.Path(__file__).parents[1])
    environment = plain | {"PYTHONPATH": root, "DDJAX_CACHE": str(tmp_path / "cache"), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command(words), env=environment, capture_output=True, text=True, timeout=300)
    rows = {path.parent.name: json.loads(path.read_text()) for path in out.glob("runs/*/row.json")}
    assert done.returncode == 1, done.stderr  # 9 blocks do not fit small images
    assert sweep(config=config, out=tmp_path / "here", workers=1, quiet=True) == 1
    mine = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "here").glob("runs/*/row.json")}
    assert rows.keys() == mine.keys() and len(rows) == 4
    for name, row in rows.items():
        assert row["status"] == mine[name]["status"], row.get("reason")
        if row["status"] == "done":
            assert row["last_acc"] == pytest.approx(mine[name]["last_acc"], abs=0.02)
            assert row["noise_checksum"] == mine[name]["noise_checksum"]
        else:
            assert "depth 9 does not fit" in row["reason"]
    return done


@pytest.mark.slow
def test_processes_give_the_rows_of_a_sweep_here(tmp_path):
    ran(tmp_path, lambda words: [*words, "--workers", "2"])


@installed("submitit")
@pytest.mark.slow
def test_slurm_jobs_give_the_rows_of_a_sweep_here(tmp_path):
    ran(tmp_path, lambda words: [*words, "--executor", "slurm", "--slurm", "cluster=local"])
    assert list((tmp_path / "out" / "slurm").glob("*_log.out"))


@installed("ray")
@pytest.mark.slow
def test_ray_tasks_give_the_rows_of_a_sweep_here(tmp_path):
    ran(tmp_path, lambda words: [sys.executable, "-c", CLUSTER, *words, "--executor", "ray"])
