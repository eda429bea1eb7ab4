"""Two hosts of one run resume from the same step and train the same experts: process 0 decides and sends arrays."""

import json
import shutil
import subprocess
import sys

import adder
import processes
import pytest

from ddjax.execution.distill import distill
from ddjax.execution.options import RunOptions
from ddjax.storage.checkpoints import Checkpoints


def damaged(folder):
    (max(folder.glob("step-*")) / "checkpoint.npz").write_bytes(b"x")


@pytest.mark.slow
@pytest.mark.faults(4, "a checkpoint damaged on one of two hosts", "both go on from what the first host has intact")
def test_two_hosts_resume_from_the_same_step(tmp_path):
    kept = Checkpoints(tmp_path / "follower" / "host0", {}, seconds=0.0)
    distill(adder.ADDER, adder.feed(), adder.state(), steps=6, chunk=2, options=RunOptions(checkpoints=kept))
    for name in ("follower/host1", "first/host0", "first/host1", "empty/host0"):
        shutil.copytree(kept.folder, tmp_path / name)
    damaged(tmp_path / "follower" / "host1")
    damaged(tmp_path / "first" / "host0")
    address = f"127.0.0.1:{processes.free_port()}"
    hosts = [
        subprocess.Popen(
            [sys.executable, str(processes.HERE / "hosts_problem.py"), address, str(number), str(tmp_path)],
            env=processes.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        said = [host.communicate(timeout=120) for host in hosts]
    finally:
        for host in hosts:
            host.kill()
    assert [host.returncode for host in hosts] == [0, 0], said
    first, other = (json.loads(out.splitlines()[-1]) for out, _ in said)
    state, log = distill(adder.ADDER, adder.feed(), adder.state(), steps=12, chunk=2)
    whole = {"state": adder.plain(state), "sums": log["sum"].tolist()}
    for name, begun in [("follower", 6), ("first", 4), ("empty", 6)]:
        assert first[name] == other[name] == {"first": begun, **whole}, name
    assert "is damaged" in said[0][1] and "is damaged" not in said[1][1]  # the other host reads no file
    experts = {"losses": [0.5, 0.5], "array": [[[0, 1], [2, 3]], [[1, 2], [3, 4]]]}
    for name, trained in [("one cache", [0, 1]), ("none on the second host", []), ("more there", [1])]:
        assert first[f"experts, {name}"] == other[f"experts, {name}"] == experts | {"trained": trained}, name
    assert first["refused"]["error"].startswith("Changed") and 'rate: "none" -> 0.1' in first["refused"]["error"]
    assert "the first host of this run stopped" in other["refused"]["error"]
    assert 'rate: "none" -> 0.1' in other["refused"]["error"]
