"""The contrast of RDC: its definition, its contract, and what it reduces to."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import testing
from ddjax.distillers import DISTILLERS, rdc
from ddjax.distillers.dance import METHOD as DANCE
from ddjax.distillers.dance.config import DanceConfig
from ddjax.distillers.dance.feed import class_batches
from ddjax.distillers.rdc import RdcConfig, supervised_contrast
from ddjax.testing import toy_train
from ddjax.types import Feed

QUICK = {
    "ipc": 2,
    "factor": 1,
    "steps": 3,
    "width": 4,
    "depth": 2,
    "batch": 6,
    "members": 1,
    "pool_epochs": 1,
    "keep_pool": False,
    "augment": "color_flip",  # compiles in half the time
}
test_contract = pytest.mark.slow(testing.contract(DISTILLERS["rdc_reconstructed"], copies=2, warmup=1, **QUICK))


def test_the_contrast_by_its_definition():
    rng = np.random.default_rng(0)
    features, labels = rng.standard_normal((7, 4)), np.array([0, 0, 0, 1, 1, 2, 2])
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    total = 0.0
    for i in range(7):
        others = [j for j in range(7) if j != i]
        logs = {
            j: unit[i] @ unit[j] / 0.5 - np.log(sum(np.exp(unit[i] @ unit[a] / 0.5) for a in others)) for j in others
        }
        total -= np.mean([logs[j] for j in others if labels[j] == labels[i]]) / 7
    contrast = jax.jit(lambda x, t: supervised_contrast(x, jnp.asarray(labels), t), static_argnums=1)
    found = contrast(jnp.asarray(features, jnp.float32), 0.5)
    assert float(found) == pytest.approx(total, rel=1e-5)
    apart = jnp.asarray(10.0 * np.eye(4)[labels], jnp.float32)  # classes are directions of their own
    assert float(contrast(apart, 0.07)) < 0.5 < float(found)
    gradient = jax.jit(jax.grad(lambda x: contrast(x, 0.07)))(apart)
    assert np.isfinite(gradient).all()


def test_feeds_with_other_selections_run_as_one_program():
    train, key, feeds = toy_train(), jax.random.key(0), []
    masks = [np.arange(24) < 3, np.arange(24) >= 10]
    for mask in masks:
        given = dataclasses.replace(train, labels=jnp.where(mask, 0, train.labels))
        own = class_batches(given, 6, None, lambda networks, key: ((), ()), key)
        data = rdc.RdcData(own=own.data, labels=given.labels, selected=jnp.asarray(mask), key=key)
        feeds.append(Feed(data, rdc.RdcBatches(own.at, 6)))
    assert feeds[0].at != feeds[1].at  # the largest classes differ
    at = jax.jit(feeds[0].at.joined([feeds[1].at]))
    for feed, mask, different in zip(feeds, masks, (3, 6), strict=True):
        partners = np.asarray(at(feed.data, jnp.int32(0)).partners)
        rows = [np.flatnonzero((np.asarray(train.images) == image).all((1, 2, 3)))[0] for image in partners]
        assert mask[rows].all() and len(rows) == 6 and len(set(rows)) == different
    assert at._cache_size() == 1


@pytest.mark.slow
def test_without_the_contrast_it_is_dance():
    train, key = toy_train(), jax.random.key(0)
    config = RdcConfig(contrast=0.0, warmup=1, **QUICK)
    model = rdc.METHOD.model(config, (8, 8, 3), 3)
    start, feed = DANCE.prepare(DanceConfig(**QUICK), train, model, key)
    expected = DANCE.build(DanceConfig(**QUICK), model)
    found = rdc.build(config, model)
    batch = feed.at(feed.data, jnp.int32(0))
    mine = rdc.RdcBatch(batch, train.images[:6], train.labels[:6])
    state = expected.init(jax.random.key(1), start)
    np.testing.assert_array_equal(
        found.step(state, mine)[0].moving.images, expected.step(state, batch)[0].moving.images
    )


@pytest.mark.slow
def test_partners_are_images_whose_labels_are_likely_right():
    train = toy_train(per_class=40)
    wrong = np.arange(120) % 6 == 0
    given = np.where(wrong, (np.asarray(train.labels) + 1) % 3, np.asarray(train.labels))
    noisy = type(train)(
        images=train.images, labels=jnp.asarray(given, jnp.int32), ids=train.ids, num_classes=3, space="toy"
    )
    config = RdcConfig(**QUICK | {"width": 8, "warmup": 30})  # 120 images are few steps per epoch
    model = rdc.METHOD.model(config, (8, 8, 3), 3)
    keep = rdc.selected(config, noisy, model, jax.random.key(0))
    assert keep[~wrong].mean() > 0.7 and keep[wrong].mean() < 0.1
