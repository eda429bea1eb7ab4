"""A distiller's run on the toy problem in a process of its own, which is killed where it is told to be.

python faults_child.py NAME FOLDER report:4        dies by SIGKILL after step 4, before that step is kept
python faults_child.py NAME FOLDER before:4        ... in the save of step 4, before the rename
python faults_child.py NAME FOLDER after:4         ... just after it
python faults_child.py NAME FOLDER half:4          ... with half of the state written
python faults_child.py NAME FOLDER                 ends, and says whether its bits are those of an uninterrupted run
"""

import json
import os
import pathlib
import signal
import sys
import time

import adder
import jax
import numpy as np

from ddjax import stopping, testing
from ddjax.distillers import DISTILLERS
from ddjax.execution.distill import distill
from ddjax.execution.options import RunOptions
from ddjax.models import build
from ddjax.storage import files
from ddjax.storage.checkpoints import Checkpoints

STEPS = 8
TINY = {"ipc": 1, "steps": STEPS, "width": 4, "depth": 1}
EXPERTS = {"experts": 2, "expert_epochs": 4, "last_start": 2, "match_epochs": 2, "inner_steps": 3}
POOL = {"width": 4, "batch": 6, "factor": 1, "members": 2, "pool_epochs": 2}
CONFIGS = {
    "random": {"ipc": STEPS},
    "herding": {"ipc": STEPS, "feature_epochs": 1},
    "kcenter": {"ipc": STEPS, "feature_epochs": 1},
    "kip": {"ipc": 2, "steps": STEPS, "batch": 12, "kernel": "conjugate"},
    "frepo": {**TINY, "batch": 12, "pool_size": 2, "max_online": 6, "norm": "none"},
    "rcig": {**TINY, "batch": 8, "pool_size": 2, "inner_steps": 2, "hinv_steps": 2},
    "dance": {"ipc": 1, "steps": STEPS, **POOL},
    "ncfm": {"ipc": 1, "steps": STEPS, "frequencies": 20, **POOL},
    "rdc_reconstructed": {"ipc": 1, "steps": STEPS, "copies": 2, "warmup": 1, **POOL},
    "datm": {**TINY, **EXPERTS, "growth_steps": 0, "flip": False, "step_size": 0.05},
    "mtt": {**TINY, **EXPERTS, "inner_batch": 3},
    "dm": {"ipc": 1, "steps": STEPS, "width": 4, "batch": 6},
}


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def problem(name):
    """(distiller, feed, a fresh state) of the toy problem, or of the adder with more steps."""
    if name == "adder":
        return adder.ADDER, adder.feed(), adder.state
    if name == "slow":  # a step that compiled code does not come back from for a minute

        def step(state, batch):
            wait = jax.pure_callback(
                lambda x: (time.sleep(60), x)[1], jax.ShapeDtypeStruct((), np.float32), batch["add"]
            )
            return adder.step(state, {"add": wait})

        return adder.ADDER._replace(step=step), adder.feed(), adder.state
    case = made_ready(name)
    return case.distiller, case.feed, case.state


def made_ready(name):
    """A method on the toy problem, in its smallest size."""
    method = DISTILLERS[name]
    if name == "kip":
        method = method._replace(model=lambda config, shape, k: build("mlp", shape, k, width=16))
    return testing.Case(method, method.config(**CONFIGS[name]))


def plant(kind, step, folder):
    """Make the save of a step deadly."""
    true = os.rename if kind != "half" else files.sync

    def rename(source, target):
        if kind == "before" and pathlib.Path(target).name == f"step-{step:09d}":
            die()
        true(source, target)
        if kind == "after" and pathlib.Path(target).name == f"step-{step:09d}":
            die()

    def sync(path):
        if f"step-{step:09d}" in str(path) and path.is_file():
            with open(path, "r+b") as file:
                file.truncate(path.stat().st_size // 2)
            die()
        true(path)

    if kind == "half":
        files.sync = sync
    else:
        os.rename = rename


def main(name, folder, kill=None):
    distiller, feed, state = problem(name)
    kind, _, at = (kill or "").partition(":")
    if kind in ("before", "after", "half"):
        plant(kind, int(at), folder)
    begun = []

    def report(done, steps, metrics):
        begun.append(done)
        if kind == "report" and done >= int(at):
            die()
        if kind == "ready":
            pathlib.Path(at).touch()
            time.sleep(0.05)

    kept = Checkpoints(pathlib.Path(folder), {"name": name}, seconds=0.0)
    found, log = distill(distiller, feed, state(), steps=STEPS, chunk=1, options=RunOptions(report, kept))
    whole, seen = distill(distiller, feed, state(), steps=STEPS, chunk=1)
    same = adder.plain(found) == adder.plain(whole) and all((log[k] == seen[k]).all() for k in seen)
    print(json.dumps({"same": same, "first": min(begun, default=STEPS), "steps": len(log["skipped"])}))


if __name__ == "__main__":
    with stopping.in_order():
        main(*sys.argv[1:])
