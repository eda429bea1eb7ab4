"""RCIG as a method: rates, pool, prototypes, averages, published settings, and the contract."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import testing, trees
from ddjax.distilled import DistilledSet, expand
from ddjax.distillers import rcig
from ddjax.distillers.shared import pool
from ddjax.distillers.shared.start import rows_by_class, start_set
from ddjax.evaluation import PROTOCOLS, evaluate
from ddjax.models import build
from ddjax.preprocess import centered
from ddjax.testing import Case, toy_train
from ddjax.types import TestSet

TINY = {
    "ipc": 1,
    "steps": 4,
    "width": 4,
    "depth": 1,
    "batch": 8,
    "pool_size": 2,
    "inner_steps": 3,
    "hinv_steps": 3,
    "inner_rate": 1e-3,
    "hinv_rate": 1e-2,
}
test_contract = testing.contract(rcig.METHOD, **TINY)


def test_a_new_state_is_extracted_as_it_started():
    case = test_contract.case()
    found = expand(case.distiller.extract(case.state()))
    assert len(found.images) == 6 and found.label_kind == "regression" and found.space == "toy"
    np.testing.assert_array_equal(found.images[:3], case.start.support.images)
    np.testing.assert_array_equal(found.images[3:], case.start.support.images[:, :, ::-1])
    real, labels = np.asarray(toy_train().images), np.asarray(toy_train().labels)
    for slot in range(3):
        (row,) = np.flatnonzero(np.all(real == np.asarray(found.images[slot])[None], axis=(1, 2, 3)))
        assert labels[row] == slot
    once, _ = case.step(case.state(), case.batch(0))
    np.testing.assert_allclose(case.distiller.extract(once).images, once.support.images, rtol=1e-5)  # no bias


def check_pool(config, model, state, new):
    """One network has changed, by training on the new support, or is new."""
    kernels = [np.asarray(s.pool.whole().params["conv_0"]["kernel"]) for s in (state, new)]
    (i,) = np.flatnonzero(np.any(kernels[0] != kernels[1], axis=(1, 2, 3, 4)))
    ages = [int(s.pool.whole().age[i]) for s in (state, new)]
    assert 0 <= ages[1] < 5 and (ages[1] == 0 or 1 <= ages[1] - ages[0] <= config.pool_most_steps)
    if ages[1]:
        member, mine = (jax.tree.map(lambda leaf: leaf[i], s.pool.whole()) for s in (state, new))
        optimiser = rcig.optax.adam(config.pool_rate)
        images, labels = new.support.images, new.support.labels
        again = pool.train(member, model, optimiser, images, labels, ages[1] - ages[0], jax.random.key(0))
        chex.assert_trees_all_close(again.params, mine.params, rtol=1e-4, atol=1e-7)
    return ages[1]


@pytest.mark.slow
def test_steps_train_one_network_each_and_lower_the_loss():
    fields = {"pool_size": 3, "max_online": 5, "flip": False, "batch": 24, "image_rate": 0.03}
    config = rcig.RcigConfig(**{**TINY, **fields})
    case, model = Case(rcig.METHOD, config), rcig.network(config, (8, 8, 3), 3)
    state, step, losses, ages = case.state(), jax.jit(case.distiller.step), [], []
    for number in range(40):
        new, metrics = step(state, case.batch(number))
        assert int(new.step) == number + 1
        if number < 8:
            ages.append(check_pool(config, model, state, new))
        losses.append(float(metrics["loss"]))
        state = new
    assert any(ages) and 0 in ages
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.05, losses


@pytest.mark.slow
def test_a_step_that_is_not_compiled_agrees():
    fields = {"inner_steps": 2, "hinv_steps": 2, "pool_most_steps": 1, "flip": False}
    case = Case(rcig.METHOD, rcig.RcigConfig(**TINY | fields))
    state, batch = case.state(), case.batch(0)
    compiled = jax.jit(case.distiller.step)(state, batch)
    with jax.disable_jit():
        plain = case.distiller.step(state, batch)
    chex.assert_trees_all_close(trees.raw(plain), trees.raw(compiled), rtol=1e-4, atol=1e-6)


def test_a_pool_minibatch_moves_otherwise_and_statistics_too():
    model = build("convnet_rcig", (8, 8, 3), 3, width=4, depth=1, norm="batch")
    optimiser, train = rcig.optax.adam(1e-2), toy_train()
    member = pool.fresh(jax.random.key(0), model, optimiser)
    images, targets = jnp.asarray(train.images), centered(train.labels, 3)
    run = jax.jit(lambda steps, key: pool.train(member, model, optimiser, images, targets, steps, key, rows=4))
    first, second = (run(3, jax.random.key(seed)) for seed in (1, 2))
    assert int(first.age) == 3
    assert not np.allclose(first.params["head"]["kernel"], second.params["head"]["kernel"])
    assert not np.allclose(*(m.params["batch_stats"]["norm_0"]["mean"] for m in (first, member)))
    assert int(pool.renew(first, 3, member).age) == 0 and int(pool.renew(first, 4, member).age) == 3


def test_a_pool_keeps_its_dtypes_on_images_in_double_precision(double):
    model, optimiser = build("convnet_rcig", (4, 4, 1), 2, width=2, depth=1, norm="batch"), rcig.optax.adam(1e-2)
    member = pool.fresh(jax.random.key(0), model, optimiser)
    arrays = jnp.ones((3, 4, 4, 1), float), jnp.ones((3, 2), float)
    after = jax.eval_shape(lambda *pair: pool.train(member, model, optimiser, *pair, 2, jax.random.key(0)), *arrays)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, member)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"norm": "batch", "softplus_beta": 0.0, "quirk_head_kernel": True, "quirk_old_counter": True},
        {"solver": "woodbury", "inner_rows": 2, "pool_rows": 2, "direct_batch": 4, "forward_block": 4},
    ],
    ids=lambda fields: "-".join(fields),
)
def test_variants_run(fields):
    case = Case(rcig.METHOD, rcig.RcigConfig(**{**TINY, "steps": 1, **fields}))
    state, metrics = jax.jit(case.distiller.step)(case.state(), case.batch(0))
    assert all(np.isfinite(float(value)) for value in metrics.values())
    assert np.any(np.asarray(state.support.images != case.start.support.images))


@pytest.mark.slow
def test_grey_digits_without_flips():
    train = dataclasses.replace(toy_train(channels=1), space="grey")
    config = rcig.RcigConfig(**{**TINY, "flip": False, "inner_rate": 0.0, "hinv_rate": 0.0})
    model = rcig.network(config, (8, 8, 1), 3)
    start, feed = rcig.prepare(config, train, model, jax.random.key(0))
    distiller = rcig.build(config, model)
    state = distiller.init(jax.random.key(1), start)
    assert float(state.inner_rate.value) > 1e-5 and float(state.hinv_rate.value) > 5e-5  # both were searched for
    stepped, _ = jax.eval_shape(distiller.step, state, feed.at(feed.data, jnp.int32(0)))
    assert stepped.support.images.shape == (3, 8, 8, 1)
    found = distiller.extract(state)
    assert found.images.shape == (3, 8, 8, 1) and not found.flip


def test_prototypes_follow_given_labels():
    train = toy_train(num_classes=3, per_class=6)
    rows = rows_by_class(jax.random.key(0), train, 4)
    labels = np.asarray(train.labels)
    np.testing.assert_array_equal(labels[rows], np.repeat([0, 1, 2], 4))
    assert len(set(rows.tolist())) == 12
    order = np.random.default_rng(0).permutation(18)
    shuffled = dataclasses.replace(
        train, labels=labels[order], ids=np.asarray(train.ids)[order], images=train.images[order]
    )
    np.testing.assert_array_equal(np.sort(order[rows_by_class(jax.random.key(0), shuffled, 4)]), np.sort(rows))
    assert set(rows_by_class(jax.random.key(0), train, 2, first_rows=7)) <= set(range(7))
    assert {tuple(rows_by_class(jax.random.key(seed), train, 1)) for seed in range(4)} != {tuple(rows[::4])}
    with jax.enable_x64(True):
        start = start_set(jax.random.key(0), train, 2, "noise", targets=centered)
    assert start.images.dtype == start.labels.dtype == train.images.dtype
    assert start.images.shape == (6, 8, 8, 3) and 0.2 < float(start.images.std()) < 0.4


def test_a_class_that_is_short_is_named():
    train = toy_train(num_classes=3, per_class=2)
    train = dataclasses.replace(train, labels=jnp.where(train.labels == 1, 0, train.labels))
    with pytest.raises(ValueError, match=r"given label: \[1\]"):
        rows_by_class(jax.random.key(0), train, 1)
    with pytest.raises(ValueError, match=r"first_rows=2 .* than ipc=1 of these classes: \[2\]; raise first_rows"):
        rows_by_class(jax.random.key(0), toy_train(num_classes=3, per_class=2), 1, first_rows=2)
    with pytest.raises(ValueError, match="noise"):
        start_set(jax.random.key(0), train, 1, "zeros")


def test_an_external_support_keeps_its_labels():
    """Labels that are not centred, with the statistics of a published support: no re-centring, flips added."""
    rng = np.random.default_rng(0)
    labels = rng.normal(-0.284, 1.0, (3, 3)).astype(np.float32)
    labels[np.arange(3), np.arange(3)] = labels.max(1) + 0.089
    images = (0.455 * rng.standard_normal((3, 8, 8, 3))).astype(np.float32)
    made = DistilledSet(
        images=jnp.asarray(images),
        labels=jnp.asarray(labels),
        num_classes=3,
        label_kind="regression",
        space="toy",
        flip=True,
    )
    wide = expand(made)
    np.testing.assert_array_equal(wide.labels, np.concatenate([labels, labels]))
    np.testing.assert_array_equal(wide.images[3:], images[:, :, ::-1])
    assert PROTOCOLS["rcig"].recipe(10).loss == "squared_error"
    with pytest.raises(ValueError, match="preprocess"):
        evaluate(
            made, TestSet(images=images, labels=np.arange(3), num_classes=3, space="toy"), protocol="rcig", epochs=1
        )
