"""The smallest distiller there is: it adds numbers, draws from its key, and can be told to go wrong."""

import jax
import jax.numpy as jnp

from ddjax import trees
from ddjax.distilled import DistilledSet
from ddjax.trees import record
from ddjax.types import Distiller, Feed


@record()
class AdderState:
    total: object
    half: object  # bfloat16, which .npz has no name for
    key: object
    step: object


def init(key, start):
    return AdderState(total=start, half=start.astype(jnp.bfloat16), key=key, step=jnp.int32(0))


def step(state, batch):
    """NaN where the batch says so."""
    drawn = jax.random.normal(jax.random.fold_in(state.key, state.step), state.total.shape)
    total = state.total + drawn * 1e-2 + batch["add"]
    half = (state.half + total.astype(jnp.bfloat16)) / 2
    after = state.__class__(total=total, half=half, key=state.key, step=state.step + 1)
    return after, {"sum": jnp.sum(total), "half": half[0]}


def extract(state):
    return DistilledSet(images=state.total[None, None, None], labels=jnp.zeros(1, jnp.int32), num_classes=1, space="x")


ADDER = Distiller(init, step, extract)


def at(data, number):
    return {"add": jnp.where(data["bad"][number], jnp.nan, data["add"] + number.astype(jnp.float32))}


def feed(bad=()):
    return Feed({"add": jnp.float32(1.0), "bad": jnp.isin(jnp.arange(100), jnp.asarray((-1, *bad)))}, at)


def state(seed=0):
    return init(jax.random.key(seed), jnp.zeros(3))


def plain(tree):
    """Bits that can be compared."""
    return [x.tolist() for x in jax.tree.leaves(trees.raw(tree))]
