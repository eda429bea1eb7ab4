"""A method split over 1, 2 and 8 devices, seeds on 8 devices, no transfer inside; run by test_devices.py."""

import dataclasses
import json
from unittest import mock

import jax
import numpy as np

from ddjax import testing
from ddjax.distillers import kip
from ddjax.execution import loop, mesh
from ddjax.execution.distill import distill
from ddjax.execution.fleet import init_members
from ddjax.kernels import gram

CONFIG = kip.KernelConfig(ipc=1, steps=3, batch=8, rate=1e-3, ridge=0.1)
METHOD = kip.kernel_method(lambda x, y: gram(x.reshape(len(x), -1), y.reshape(len(y), -1)) / x[0].size)


def start(case, number):
    """Members start from images of their own: this kernel draws nothing."""
    return dataclasses.replace(case.start, images=case.start.images + 0.1 * number)


def alone(case, number):
    state = case.distiller.init(jax.random.key(number), start(case, number))
    return np.asarray(distill(case.distiller, case.feed, state, steps=3)[0].distilled.images)


def split(case, count):
    devices = mesh.mesh_of(jax.devices()[:count])
    state = case.distiller.init(jax.random.key(0), case.start)
    state, _ = mesh.distill_over(devices, case.distiller, case.feed, state, split=METHOD.split, steps=3)
    return np.asarray(state.distilled.images)


def watched():
    """The loop's programs under a guard: nothing crosses between host and devices unasked."""
    make = loop._program

    def guarded(*how):
        program = make(*how)

        def call(*arguments):
            with jax.transfer_guard_host_to_device("disallow"), jax.transfer_guard_device_to_host("disallow"):
                return program(*arguments)

        return call

    return mock.patch.object(loop, "_program", guarded)


def main():
    case = testing.Case(METHOD, CONFIG)
    with watched():
        one, last = alone(case, 0), alone(case, 7)
        counts = {count: split(case, count) for count in (1, 2, 8)}
        keys, starts = zip(*[(jax.random.key(number), start(case, number)) for number in range(8)], strict=True)
        ended = distill(
            case.distiller, [case.feed] * 8, init_members(case.distiller, list(keys), list(starts)), steps=3
        )
    members = [np.asarray(state.distilled.images) for state, _ in ended]
    print(
        json.dumps(
            {
                "devices": len(jax.devices()),
                "moved": float(np.abs(one - np.asarray(case.start.images)).max()),
                "counts": {count: float(np.abs(images - one).max()) for count, images in counts.items()},
                "seeds": [float(np.abs(members[0] - one).max()), float(np.abs(members[7] - last).max())],
                "apart": float(np.abs(members[0] - members[7]).max()),
            }
        )
    )


if __name__ == "__main__":
    main()
