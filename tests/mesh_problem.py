"""One step of a method on one device and over all of them; run by test_mesh.py with eight simulated devices."""

import json
import sys

import jax
import numpy as np

from ddjax import testing
from ddjax.distillers import DISTILLERS
from ddjax.execution import mesh
from ddjax.execution.distill import distill

CONFIGS = {
    "rcig": {
        **{"ipc": 2, "steps": 1, "width": 2, "depth": 1, "batch": 16, "pool_size": 2},
        **{"inner_steps": 2, "hinv_steps": 2, "pool_most_steps": 1},
    },
    "datm": {
        **{"ipc": 2, "steps": 1, "width": 2, "depth": 1, "experts": 2, "expert_epochs": 3, "expert_batch": 8},
        **{"expert_rate": 0.05, "store": False, "last_start": 1, "growth_steps": 0, "inner_steps": 2, "segments": 8},
        "match_epochs": 2,
        **{"threshold": 5.0, "step_size": 0.05, "image_rate": 1.0, "flip": False},
    },
    "dance": {
        **{"ipc": 2, "steps": 1, "width": 2, "depth": 1, "batch": 8, "members": 2, "pool_epochs": 1},
        "keep_pool": False,
    },
}


def main(name, classes):
    toy = testing.toy_train
    testing.toy_train = lambda: toy(num_classes=classes)
    method = DISTILLERS[name]
    case = testing.Case(method, method.config(**CONFIGS[name]))
    alone, log = distill(case.distiller, case.feed, case.state(), steps=1)
    all_devices = mesh.mesh_of()
    spread, its_log = mesh.distill_over(
        all_devices, case.distiller, case.feed, case.state(), split=method.split, steps=1
    )
    batch = jax.jit(lambda data: mesh.shard_batch(all_devices, case.feed.at(data, 0), method.split))(
        mesh.replicate(all_devices, case.feed.data)
    )
    ours, theirs = (case.distiller.extract(state) for state in (alone, spread))
    before = case.distiller.extract(case.state())
    print(
        json.dumps(
            {
                "devices": len(jax.devices()),
                "moved": float(np.abs(ours.images - before.images).max()),
                "apart": float(np.abs(ours.images - theirs.images).max()),
                "metrics": {key: [float(np.ravel(each[key])[0]) for each in (log, its_log)] for key in log},
                "parts": {field: str(getattr(batch, field).sharding.spec) for field in method.split},
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
