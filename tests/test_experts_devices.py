"""Experts shared out among devices."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import jax, numpy as np
from ddjax.experts import trajectories
from ddjax.models import build
from ddjax.testing import toy_train
from ddjax.training import Recipe

assert jax.local_device_count() == 2
model = build("convnet", (8, 8, 3), 3, depth=1, width=4)
settings = dict(architecture="toy", experts=3, store=False)
train, calls = toy_train(), []
for how in ("map", "vmap"):
    found = trajectories(
        model, Recipe(epochs=2, batch=10, rate=0.1), train, how=how, report=lambda *said: calls.append(said), **settings
    )
    alone = trajectories(model, Recipe(epochs=2, batch=10, rate=0.1), train, how=how, **settings | {"experts": 1})
    assert found.array.shape[0] == 3 and calls[-1][:2] == (6, 6)
    np.testing.assert_allclose(found.array[:1], alone.array, rtol=1e-3, atol=1e-5)
    assert len(np.unique(found.array[:, 0, 0])) == 3
"""


@pytest.mark.slow
def test_devices_share_the_experts():
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
