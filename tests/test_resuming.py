"""Interrupted trainings resume from their checkpoints and end with the same bits as uninterrupted ones."""

import dataclasses

import adder
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import testing
from ddjax.execution.distill import distill
from ddjax.execution.options import RunOptions
from ddjax.experts import trajectories
from ddjax.experts.fleet import train_experts
from ddjax.models import build
from ddjax.preprocess import one_hot
from ddjax.robust import make_rule
from ddjax.storage.checkpoints import Changed, Checkpoints
from ddjax.training import Examples, Recipe, fit

TRAIN = testing.toy_train(num_classes=2)
MODEL = build("mlp", TRAIN.images.shape[1:], 2, width=4)
EXAMPLES = Examples(TRAIN.images, one_hot(TRAIN.labels, 2))
RECIPE = Recipe(epochs=6, batch=4, rate=0.05, momentum=0.9)
WATCH = {"train": (TRAIN.images, {"given": TRAIN.labels})}


class Cut(Exception):
    """The power went."""


def cut_after(count):
    calls = []

    def report(done, total, metrics):
        calls.append(done)
        if len(calls) == count:
            raise Cut

    return report


def keys():
    return jax.random.split(jax.random.key(0), 2)


def same(found, whole):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_a_distiller_whose_metric_has_a_new_name(tmp_path):
    def run(distiller, steps):
        kept = RunOptions(checkpoints=Checkpoints(tmp_path / "run", {}, seconds=0.0))
        return distill(distiller, adder.feed(), adder.state(), steps=steps, chunk=2, options=kept)

    def renamed(state, batch):
        state, metrics = adder.step(state, batch)
        return state, {"total": metrics["sum"]}

    before = run(adder.ADDER, 2)[1]["sum"]
    log = run(adder.ADDER._replace(step=renamed), 4)[1]
    np.testing.assert_array_equal(log["sum"], [*before, np.nan, np.nan])
    assert np.isnan(log["total"][:2]).all() and np.isfinite(log["total"][2:]).all()


@pytest.mark.slow
def test_networks(tmp_path):
    kept = Checkpoints(tmp_path / "run", {}, seconds=0.0)

    def run(recipe=RECIPE, **more):
        return fit(MODEL, recipe, EXAMPLES, keys(), watch=WATCH, every=2, options=RunOptions(**more))

    with pytest.raises(Cut):
        run(checkpoints=kept, report=cut_after(4))
    assert max(path.name for path in (tmp_path / "run" / "fit").glob("step-*")) == "step-000000003"
    seen = []
    same(run(checkpoints=kept, report=lambda done, *_: seen.append(done)), run())
    assert seen == [4, 5, 6]
    with pytest.raises(Changed, match=r"fit\.recipe\.rate: 0\.05 -> 0\.1"):
        run(dataclasses.replace(RECIPE, rate=0.1), checkpoints=kept)
    with pytest.raises(Changed, match=r"fit\.network"):
        twin = build("mlp", TRAIN.images.shape[1:], 2, width=4, activation="leaky")
        fit(twin, RECIPE, EXAMPLES, keys(), watch=WATCH, every=2, options=RunOptions(checkpoints=kept))
    other = EXAMPLES._replace(targets=EXAMPLES.targets[::-1])
    with pytest.raises(Changed, match=r"fit\.arrays"):
        fit(MODEL, RECIPE, other, keys(), watch=WATCH, every=2, options=RunOptions(checkpoints=kept))


@pytest.mark.slow
def test_networks_of_a_robust_rule(tmp_path):
    kept, rule = Checkpoints(tmp_path / "run", {"rule": "elr"}, seconds=0.0), make_rule("elr", RECIPE.epochs)

    def run(**more):
        return fit(MODEL, RECIPE, EXAMPLES, keys(), rule=rule, options=RunOptions(**more))

    with pytest.raises(Cut):
        run(checkpoints=kept, report=cut_after(3))
    found, whole = run(checkpoints=kept), run()
    same(found.params, whole.params)
    same(found.findings, whole.findings)
    np.testing.assert_array_equal(found.loss, whole.loss)


@pytest.mark.parametrize(("dtype", "epochs"), [(np.float32, (0, 2, 3, 6)), (jnp.bfloat16, (4, 6))])
def test_experts(tmp_path, dtype, epochs):
    kept = Checkpoints(tmp_path / "run", {}, seconds=0.0)

    def run(**more):
        options = {"seed": 3, "numbers": [0, 2], "kept": epochs, "dtype": np.dtype(dtype)}
        return list(train_experts(MODEL, RECIPE, EXAMPLES, options=RunOptions(**more), **options))

    with pytest.raises(Cut):
        run(checkpoints=kept, report=cut_after(3))
    found, whole = run(checkpoints=kept), run()
    assert [(e.number, e.loss, e.accuracy) for e in found] == [(e.number, e.loss, e.accuracy) for e in whole]
    for one, other in zip(found, whole, strict=True):
        assert one.snapshots.dtype == other.snapshots.dtype
        np.testing.assert_array_equal(one.snapshots.view(np.uint8), other.snapshots.view(np.uint8))


@pytest.mark.slow
def test_experts_in_memory_of_another_recipe(tmp_path):
    options = RunOptions(checkpoints=Checkpoints(tmp_path / "run", {}, seconds=0.0))
    short, other = Recipe(epochs=1, batch=12, rate=0.05), Recipe(epochs=1, batch=12, rate=0.1)
    trajectories(MODEL, short, TRAIN, experts=1, store=False, options=options)
    with pytest.raises(Changed, match=r"experts\.recipe\.rate: 0\.05 -> 0\.1"):
        trajectories(MODEL, other, TRAIN, experts=1, store=False, options=options)
