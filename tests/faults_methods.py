"""Methods that go wrong, each in its own way, for sweeps: `faults_methods:HUNGRY` and so on."""

import os
import pathlib
import signal

import jax
import jax.numpy as jnp

from ddjax.distillers import DISTILLERS

RANDOM = DISTILLERS["random"]


def hungry(config, train, model, key):
    """More memory than any machine has."""
    jnp.ones((2**20, 2**20, 2**10)).block_until_ready()
    return RANDOM.prepare(config, train, model, key)


def deadly(config, train, model, key):
    """The process is killed the first time, as by the out-of-memory killer."""
    mark = pathlib.Path(os.environ["FAULTS_MARK"])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return RANDOM.prepare(config, train, model, key)


def nan(config, model):
    """Every update is NaN."""
    plain = RANDOM.build(config, model)

    def step(state, batch):
        after, metrics = plain.step(state, batch)
        return after.__class__(**{**vars(after), "images": after.images * jnp.nan}), metrics

    return plain._replace(step=step)


def nan_for_seed_1(config, model):
    """Every update is NaN in a run whose seed is 1."""
    broken = nan(config, model)
    plain = RANDOM.build(config, model)
    own = jax.random.split(jax.random.key(1))[1]

    def step(state, batch):
        (bad, metrics), (good, _) = broken.step(state, batch), plain.step(state, batch)
        is_one = jnp.all(jax.random.key_data(state.key) == jax.random.key_data(own))
        return good.__class__(**{**vars(good), "images": jnp.where(is_one, bad.images, good.images)}), metrics

    return plain._replace(step=step)


HUNGRY = RANDOM._replace(prepare=hungry)
DEADLY = RANDOM._replace(prepare=deadly)
NAN = RANDOM._replace(build=nan, steps=lambda config: 50)
ODD = RANDOM._replace(build=nan_for_seed_1, steps=lambda config: 12)
