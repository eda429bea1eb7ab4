"""One of two hosts that resume a run and complete a buffer of experts; run by test_hosts.py."""

import json
import pathlib
import sys

import adder
import jax
import numpy as np

from ddjax.execution.distill import distill
from ddjax.execution.options import RunOptions
from ddjax.experts.buffer import Buffer
from ddjax.experts.fleet import Expert
from ddjax.experts.trajectories import complete, record_of, shared
from ddjax.storage.checkpoints import Checkpoints
from ddjax.storage.checkpoints.hosts import agreed


def resumed(folder, config):
    """Where this host went on, and the bits that it ended in; or the error."""
    reached = []
    kept = Checkpoints(folder, config, seconds=1000.0)
    try:
        state, log = distill(
            adder.ADDER,
            adder.feed(),
            adder.state(),
            steps=12,
            chunk=2,
            options=RunOptions(lambda done, steps, metrics: reached.append(done), kept),
        )
    except ValueError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"first": reached[0] - 2, "state": adder.plain(state), "sums": log["sum"].tolist()}


def experts(folder, stored):
    """The numbers that this host trains, and the experts that it reads; each training is one collective."""
    block = np.arange(4, dtype=np.float32).reshape(2, 2)
    buffer = Buffer(folder, {"name": "experts"}, block.shape, block.dtype)
    trained = []

    def fleet(numbers):
        for number in numbers:
            agreed(False)
            trained.append(number)
            yield Expert(number, number + block, 0.5, 1.0, 0.0)

    for number in stored:
        buffer.make(1)
        made = Expert(number, number + block, 0.5, 1.0, 0.0)
        buffer.write(number, made.snapshots, record_of(made))
    records = complete(buffer, 2, fleet)
    return {"trained": trained, "losses": [records[i]["loss"] for i in range(2)], "array": shared(buffer, 2).tolist()}


def main(address, number, root):
    jax.distributed.initialize(address, 2, number)
    cases = {name: ({}, root / name / f"host{number}") for name in ("follower", "first", "empty")}
    cases["refused"] = ({"rate": 0.1}, root / "first" / f"host{number}")
    found = {name: resumed(folder, config) for name, (config, folder) in cases.items()}
    found["experts, one cache"] = experts(root / "experts", [])
    for name, stored in [("experts, none on the second host", ([0, 1], [])), ("experts, more there", ([0], [0, 1]))]:
        found[name] = experts(root / name / f"host{number}", stored[number])
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3]))
