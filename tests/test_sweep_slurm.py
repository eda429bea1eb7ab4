"""Jobs of Slurm: what they ask for, and how often they run."""

import contextlib
import sys
from types import SimpleNamespace
from unittest import mock

import pytest

from experiments.display.progress import View
from experiments.running.config import Experiment
from experiments.sweeping import on_slurm
from experiments.sweeping.executors import Where, execute
from experiments.sweeping.jobs import Resources
from experiments.sweeping.store import Store


def test_parameters_of_slurm_jobs():
    asked = on_slurm.parameters(Resources(cpus=4, gpus=1, memory=32, hours=2), {"partition": "a", "nice": "5"}, "slurm")
    assert asked["timeout_min"] == 120 and asked["gpus_per_node"] == 1 and asked["mem_gb"] == 32
    assert (asked["slurm_partition"], asked["slurm_nice"]) == ("a", 5)
    for name in ("cpus", "gpus"):
        with pytest.raises(ValueError, match=rf"integer number of {name}; got {name}=0\.5"):
            on_slurm.parameters(Resources(**{name: 0.5}), {}, "slurm")
    assert on_slurm.parameters(Resources(hours=0.001), {}, "slurm")["timeout_min"] == 1  # 0 is no limit


def test_a_job_that_runs_out_of_time_runs_once_and_as_often_as_there_are_retries(tmp_path, monkeypatch):
    runs = []

    class Executor:
        """Jobs that run out of time as often as Slurm queues them again, and once more."""

        def __init__(self, slurm_max_num_timeout, **_):
            self.most = slurm_max_num_timeout
            self.update_parameters, self.batch = dict, contextlib.nullcontext

        def submit(self, job):
            runs.extend([job] * (self.most + 1))
            handle = mock.Mock()
            handle.exception.return_value = RuntimeError("is out of time")
            return handle

    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(AutoExecutor=Executor))
    monkeypatch.setattr(on_slurm, "environment", dict)
    store = Store(tmp_path)
    cell, more = Experiment(rate=0.4), {"fleet": False, "machine": None, "view": View(quiet=True), "landed": list}
    assert execute([[cell]], store, Where(executor="slurm", retries=2), **more) == [cell]
    assert len(runs) == 3 and "3 times; the last time: RuntimeError: is out of time" in store.row(cell)["reason"]
