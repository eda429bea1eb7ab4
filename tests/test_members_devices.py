"""Experts and students shared out among devices."""

import processes
import pytest

EXPERTS = """
import jax, numpy as np
from ddjax import RunOptions
from ddjax.experts import trajectories
from ddjax.models import build
from ddjax.testing import toy_train
from ddjax.training import Recipe

assert jax.local_device_count() == 2
model = build("convnet", (8, 8, 3), 3, depth=1, width=4)
train, calls = toy_train(), []
for how in ("map", "vmap"):
    options, recipe = RunOptions(lambda *said: calls.append(said), how=how), Recipe(epochs=2, batch=10, rate=0.1)
    found = trajectories(model, recipe, train, experts=3, store=False, options=options)
    alone = trajectories(model, recipe, train, experts=1, store=False, options=RunOptions(how=how))
    assert found.array.shape[0] == 3 and calls[-1][:2] == (6, 6)
    np.testing.assert_allclose(found.array[:1], alone.array, rtol=1e-3, atol=1e-5)
    assert len(np.unique(found.array[:, 0, 0])) == 3
"""


STUDENTS = """
import jax, jax.numpy as jnp, numpy as np
from ddjax import RunOptions
from ddjax.models import build
from ddjax.testing import toy_train
from ddjax.training import Examples, Recipe, fit

assert jax.local_device_count() == 2
model, train = build("convnet", (8, 8, 3), 3, depth=1, width=4), toy_train()
recipe = Recipe(epochs=3, batch=10, rate=0.1)
images, targets = jnp.asarray(train.images), jax.nn.one_hot(train.labels, 3)
own = Examples(images, jnp.stack([targets, targets[::-1], targets, targets]))  # images are everyone's, labels are not
keys, watch = jax.random.split(jax.random.key(0), 4), {"test": (images, {"acc": jnp.asarray(train.labels)})}
for how in ("map", "vmap"):
    options = RunOptions(how=how)
    found = fit(model, recipe, own, keys, watch=watch, every=1, options=options)
    assert found.loss.shape == (4, 3) and found.seen["acc"].shape == (4, 3)
    assert {str(leaf.sharding) for leaf in jax.tree.leaves(found.params)} == {str(jnp.zeros(1).sharding)}
    for i in range(4):
        part = Examples(images, own.targets[i])
        alone = fit(model, recipe, part, keys[i][None], watch=watch, every=1, options=options)
        np.testing.assert_allclose(found.loss[i], alone.loss[0], rtol=1e-4)
        np.testing.assert_array_equal(found.seen["acc"][i], alone.seen["acc"][0])
    odd = fit(model, recipe, Examples(images, targets), keys[:3], options=options)  # two devices do not divide three
    np.testing.assert_allclose(odd.loss[[0, 2]], found.loss[[0, 2]], rtol=1e-4)
from ddjax.training import make_trainer
from ddjax.training.programs import programs
start, program, _ = programs(make_trainer(model, recipe), 1, True, "map", 2)
states = jax.eval_shape(start, keys, jnp.ones(4), None, None, own)
text = program.lower(states, own, watch, jnp.arange(1), jax.random.key(0)).as_text()
assert "parts" in text, "nothing is shared out"
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", [EXPERTS, STUDENTS], ids=["experts", "students"])
def test_devices_share_the_members(program):
    words = "-W", "error::UserWarning", "-c", program
    processes.ended(processes.start(*words, **processes.devices(2)))
