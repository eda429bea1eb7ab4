"""DANCE keeps the contract; what it starts from, and what it is fed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import testing
from ddjax.distilled import decode, expand
from ddjax.distillers import dance
from ddjax.distillers.dance import feed as feeds
from ddjax.distillers.dance import start as starts
from ddjax.distillers.dance.config import DanceConfig

TINY = {"steps": 3, "width": 4, "batch": 6, "factor": 2}
POOL = {"members": 2, "pool_epochs": 150, "keep_pool": False}

test_dance = testing.contract(dance.METHOD, DanceConfig(ipc=2, rate=0.3, **TINY, **POOL), augment="color_flip")


@pytest.fixture(scope="module")
def case():
    return test_dance.case()


def uneven():
    """Three classes of 3, 8 and 13 images, in a shuffled order."""
    train = testing.toy_train()
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3, dtype=np.int32), [3, 8, 13]))
    return dataclasses.replace(train, labels=jnp.asarray(labels))


def test_training_sets_with_other_noise_share_a_program_and_keep_their_rows():
    train, draw, key = uneven(), lambda networks, key: ((), ()), jax.random.key(3)
    labels = np.array(train.labels)
    labels[np.flatnonzero(labels == 1)[:2]] = 2  # the largest class has 15 images in place of 13
    sets = train, dataclasses.replace(train, labels=jnp.asarray(labels))
    one, other = (feeds.class_batches(own, 3, None, draw, key).at for own in sets)
    assert one == other and one.largest == 16
    for own, largest in zip(sets, (13, 15), strict=True):
        rows, step = feeds.sorted_rows(own), jnp.int32(1)
        exact, bounded = (feeds.batch_rows(key, rows, step, 3, n) for n in (largest, one.largest))
        jax.tree.map(np.testing.assert_array_equal, bounded, exact)


def test_a_pass_over_a_class_repeats_nothing():
    train = uneven()
    rows = feeds.sorted_rows(train)
    at = jax.jit(lambda step: feeds.batch_rows(jax.random.key(3), rows, step, 4, 13))
    batches = [jax.tree.map(np.asarray, at(jnp.int32(step))) for step in range(6)]
    labels = np.asarray(train.labels)
    for chosen, present in batches:
        assert (present.sum(1) == [3, 4, 4]).all()
        for label in range(3):
            assert (labels[chosen[label]] == label).all()
            real = chosen[label][present[label] > 0]
            assert len(set(real)) == len(real)
    for label, batches_of_pass in ((1, 2), (2, 3)):  # 8 // 4 and 13 // 4: a remainder is left out
        passes = np.stack([chosen[label] for chosen, _ in batches]).reshape(-1, 4 * batches_of_pass)
        assert all(len(set(one)) == len(one) for one in passes) and (passes[0] != passes[1]).any()


@pytest.mark.slow
def test_a_step_draws_a_pair_and_all_of_a_small_class(case):
    pool = case.feed.data.networks
    encoder, judge = feeds.drawn_pair(pool, jax.random.key(0))
    flat = [jax.flatten_util.ravel_pytree(tree)[0] for tree in (encoder, judge)]
    firsts, lasts = (jax.vmap(lambda t: jax.flatten_util.ravel_pytree(t)[0])(t) for t in (pool.initial, pool.trained))
    member = int(jnp.argmin(jnp.abs(lasts - flat[1][None]).sum(1)))
    assert jnp.array_equal(flat[1], lasts[member]) and not jnp.allclose(firsts[0], firsts[1])
    weights = (flat[0] - lasts[member]) / (firsts[member] - lasts[member])
    moved = jnp.abs(firsts[member] - lasts[member]) > 1e-2
    assert moved.sum() > 50 and float(jnp.ptp(weights[moved])) < 1e-3 and 0 <= float(weights[moved].mean()) < 1


def test_points_between_networks():
    initial, trained = {"a": jnp.array([1.0, 3.0])}, {"a": jnp.array([0.5, -1.0])}
    for weight, expected in ((1.0, initial["a"]), (0.0, trained["a"]), (0.5, jnp.array([0.75, 1.0]))):
        assert jnp.array_equal(feeds.between(weight, initial, trained)["a"], expected)


@pytest.mark.parametrize(
    ("side", "factor", "picked"),
    [(32, 2, range(0, 32, 2)), (28, 2, range(0, 28, 2)), (28, 3, [0, 2, 5, 8, 11, 14, 16, 19, 22, 25])],
)
def test_mosaic_shrinks_real_images_into_cells(side, factor, picked):
    real = np.random.default_rng(0).random((2 * factor**2, side, side, 1), np.float32)
    stored, picked = np.asarray(starts.mosaic(jnp.asarray(real), factor)), list(picked)
    assert stored.shape == (2, side, side, 1)
    for cell in range(factor**2):
        for image in range(2):
            top, left = (len(picked) * at for at in divmod(cell, factor))
            found = stored[image, top : top + len(picked), left : left + len(picked)]
            shrunk = real[cell * 2 + image][np.ix_(picked, picked)]
            np.testing.assert_array_equal(found, shrunk[: found.shape[0], : found.shape[1]])


def test_mosaic_and_decode_have_one_order():
    flat = jnp.arange(8.0)[:, None, None, None] * jnp.ones((8, 4, 4, 1))  # 8 plain images, each of one value
    assert jnp.array_equal(decode.decode(starts.mosaic(flat, 2), 2)[:, 0, 0, 0], jnp.arange(8.0))


def test_small_classes_are_topped_up_and_empty_ones_refused():
    train = uneven()
    rows = starts.class_rows(jax.random.key(0), train, 5)
    labels = np.asarray(train.labels)
    assert (labels[rows] == np.arange(3)[:, None]).all()
    assert [len(set(of_class)) for of_class in rows.tolist()] == [3, 5, 5]
    first = starts.class_rows(jax.random.key(0), train, 5, "first")
    assert first[2].tolist() == np.flatnonzero(labels == 2)[:5].tolist()
    shuffled = np.random.default_rng(1).permutation(24)
    moved = dataclasses.replace(train, **{n: getattr(train, n)[shuffled] for n in ("images", "labels", "ids")})
    assert (shuffled[starts.class_rows(jax.random.key(0), moved, 5)[2]] == rows[2]).all()
    empty = dataclasses.replace(train, labels=jnp.maximum(train.labels, 1))
    with pytest.raises(ValueError, match=r"\[0\]"):
        starts.class_rows(jax.random.key(0), empty, 5)
    with pytest.raises(ValueError, match=r"\[0\]"):  # noise has nothing to match either
        dance.first_images(DanceConfig(start="noise"), empty, jax.random.key(0))


@pytest.mark.parametrize("start", ["mix", "random", "noise"])
def test_the_first_images(start):
    config = DanceConfig(ipc=2, start=start, start_order="first", **TINY)
    train = testing.toy_train()
    first = dance.first_images(config, train, jax.random.key(0))
    assert first.images.shape == (3, 2, 8, 8, 3)
    assert first.images.min() >= 0 and first.images.max() <= 1 and first.images.std() > 0.1
    if start == "random":
        back = starts.from_unit(first.box, first.images.reshape(6, 8, 8, 3))
        np.testing.assert_allclose(back[2], train.images[1], atol=1e-6)  # labels run 0, 1, 2, 0, ...


def test_the_box_is_that_of_pixels():
    pixels = jnp.asarray(np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3)), jnp.float32) / 255
    mean, std = jnp.array([0.4, 0.5, 0.6]), jnp.array([0.2, 0.25, 0.3])
    box = starts.box_of((pixels - mean[None, None, None]) / std[None, None, None])
    np.testing.assert_allclose(box.low, -mean / std, rtol=1e-5)
    np.testing.assert_allclose(box.high, (1 - mean) / std, rtol=1e-5)


def test_the_result_is_decoded_by_its_students(case):
    distilled = case.distiller.extract(case.looped())
    assert distilled.images.shape == (6, 8, 8, 3) and distilled.factor == 2
    assert distilled.labels.tolist() == [0, 0, 1, 1, 2, 2]
    plain = expand(distilled)
    assert plain.images.shape == (24, 8, 8, 3) and plain.labels.tolist() == sorted(plain.labels.tolist())
    box, low = case.start.box, distilled.images.min((0, 1, 2))
    assert jnp.all(low >= box.low - 1e-5) and jnp.all(distilled.images.max((0, 1, 2)) <= box.high + 1e-5)


def test_both_losses_fall(case):
    """The mean over steps of the losses, against those of images that have not moved before the step."""
    batch = jax.jit(case.feed.at)
    first = state = case.state()
    log = []
    for number in range(40):
        seen = batch(case.feed.data, jnp.int32(number))
        _, unmoved = case.step(dataclasses.replace(first, step=state.step), seen)
        state, moved = case.step(state, seen)
        log.append([[float(metrics[name]) for name in ("inner", "calibration")] for metrics in (unmoved, moved)])
    unmoved, moved = np.mean(log[20:], axis=0)
    assert (moved < 0.8 * unmoved).all(), (unmoved, moved)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"start": "mixed"}, "'mix'"),
        ({"encoder": "random"}, "calibrations=1"),
        ({"augment": "color_blur"}, "blur"),
        ({"formation": "bound", "ipc": 300}, "at most 128.*cap=200"),
        ({"formation": "bound", "ipc": 129}, "at most 128"),
    ],
)
def test_invalid_settings_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        DanceConfig(**fields)


@pytest.mark.slow
def test_small_images_are_plain_and_large_ones_mosaics():
    def sizes(config, side):
        params = jax.eval_shape(dance.network(config, (side, side, 3), 2).init, jax.random.key(0))
        return params["conv_0"]["kernel"].shape[-1], config.factor_for((side, side, 3))

    assert (sizes(DanceConfig(), 16), sizes(DanceConfig(), 17)) == ((32, 1), (128, 2))
    asked = DanceConfig(width=8, factor=3)
    assert sizes(asked, 8) == sizes(asked, 64) == (8, 3)
    plain = testing.Case(dance.METHOD, DanceConfig(steps=0, width=4, batch=6, **POOL))
    assert plain.distiller.extract(plain.state()).factor == 1
