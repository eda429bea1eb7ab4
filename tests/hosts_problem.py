"""One host of two that resume a run, each from a folder of its own; run by test_hosts.py."""

import json
import pathlib
import sys

import adder
import jax

from ddjax.execution.distill import distill
from ddjax.execution.options import RunOptions
from ddjax.storage.checkpoints import Checkpoints


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


def main(address, number, root):
    jax.distributed.initialize(address, 2, number)
    cases = {name: ({}, root / name / f"host{number}") for name in ("follower", "first", "empty")}
    cases["refused"] = ({"rate": 0.1}, root / "first" / f"host{number}")
    print(json.dumps({name: resumed(folder, config) for name, (config, folder) in cases.items()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3]))
