"""DATM's schedule, batches, first images and labels, and its plan of memory."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddjax import testing
from ddjax.augment import AUGMENTATIONS
from ddjax.bilevel.unrolled_descent import HYPERGRADIENTS
from ddjax.distillers import datm
from ddjax.distillers.datm import feed as datm_feed
from ddjax.distillers.datm import memory as datm_memory
from ddjax.distillers.datm.match import squared_distance, student
from ddjax.distillers.datm.schedule import Schedule, batches
from ddjax.distillers.datm.start import begin, correct_rows, mean_of_right
from ddjax.experts import Trajectories


@pytest.mark.parametrize("resident", [2**30, 0])
def test_a_segment_spans_the_epochs_of_one_expert(monkeypatch, resident):
    epochs = (1, 2, 3, 4, 5, 6)
    weights = np.add.outer(100 * np.arange(3), epochs)[..., None].astype(np.float32)
    schedule = Schedule(first=1, early=4, last=4, growth=0, count=3, segments=2)
    monkeypatch.setattr(datm_feed, "RESIDENT_BYTES", resident)
    feed = datm_feed.segment_feed(Trajectories(weights, epochs, {}, lambda flat: flat), schedule, 3, jax.random.key(0))
    data = (feed.data, feed.fetch(5, 1)) if feed.fetch else feed.data
    found = feed.at(data, jnp.int32(5))
    np.testing.assert_array_equal(found.starts[:, 0] % 100, found.epochs)
    np.testing.assert_array_equal(found.targets - found.starts, 3)


@pytest.mark.parametrize(
    ("early", "last", "growth", "ends"),
    [
        (10, 20, 1000, {0: 10, 99: 10, 100: 11, 500: 15, 999: 19, 1000: 20, 5000: 20}),
        (20, 40, 2000, {99: 20, 100: 21, 1999: 39, 2000: 40}),
        (15, 20, 2000, {399: 15, 400: 16, 999: 17, 1999: 19, 2000: 20}),
        (3, 7, 0, {0: 7, 10**6: 7}),
    ],
)
def test_the_range_of_start_epochs_grows_in_integers(early, last, growth, ends):
    schedule = Schedule(0, early, last, growth, 5, 1)
    assert {step: int(schedule.end(step)) for step in ends} == ends


def test_every_expert_once_per_round_and_starts_within_the_range():
    schedule = Schedule(2, 4, 8, 40, 6, 2)
    draw = jax.jit(jax.vmap(schedule.draw, (None, 0)))
    found = draw(jax.random.key(3), jnp.arange(60))
    rounds = np.asarray(found.expert).reshape(-1, 6)
    np.testing.assert_array_equal(np.sort(rounds, axis=1), np.tile(np.arange(6), (20, 1)))
    assert len({tuple(row) for row in rounds.tolist()}) > 10
    ends = np.array([int(schedule.end(step)) for step in range(60)])[:, None]
    starts = np.asarray(found.start)
    assert (starts >= 2).all() and (starts < ends).all() and starts.max() == 7
    again = draw(jax.random.key(3), jnp.arange(60))
    np.testing.assert_array_equal(found.start, again.start)


def test_batches_are_permutations_one_after_the_other():
    rows = np.asarray(batches(jax.random.key(0), 20, 4, 12))
    assert rows.shape == (12, 4)
    for first in (0, 5):
        np.testing.assert_array_equal(np.sort(rows[first : first + 5].ravel()), np.arange(20))
    assert not np.array_equal(rows[:5], rows[5:10])
    assert not np.array_equal(rows, batches(jax.random.key(1), 20, 4, 12))
    np.testing.assert_array_equal(np.bincount(np.asarray(batches(jax.random.key(0), 20, 4, 80)).ravel()), 16)


RIGHT = np.zeros((2, 24), bool)
RIGHT[0, [0, 3, 6, 1, 4]] = True  # classes are rows modulo 3: three of class 0, two of class 1
RIGHT[1, [9, 7, 2, 5]] = True


def test_the_first_experts_images_come_first_and_the_next_fill_up():
    train = testing.toy_train()
    rows = correct_rows(jax.random.key(0), train, 2, lambda e: RIGHT[e], 2, "error").reshape(3, 2)
    assert set(rows[0]) < {0, 3, 6} and set(rows[1]) == {1, 4} and set(rows[2]) == {2, 5}
    others = [correct_rows(jax.random.key(s), train, 2, lambda e: RIGHT[e], 2, "error")[:2] for s in range(8)]
    assert len({tuple(sorted(o)) for o in others}) > 1


def test_a_class_that_runs_short_is_named_or_filled(caplog):
    train = testing.toy_train()
    with pytest.raises(ValueError, match=r"ipc=3 images per class.*\(class: images\): \{2: 2\}.*short_class='real'"):
        correct_rows(jax.random.key(0), train, 3, lambda e: RIGHT[e], 2, "error")
    rows = correct_rows(jax.random.key(0), train, 3, lambda e: RIGHT[e], 2, "real").reshape(3, 3)
    assert "filled up" in caplog.text
    assert set(rows[1]) == {1, 4, 7} and {2, 5} < set(rows[2])
    np.testing.assert_array_equal(np.asarray(train.labels)[rows], np.repeat(np.arange(3), 3).reshape(3, 3))
    with pytest.raises(ValueError, match="ipc=9"):
        correct_rows(jax.random.key(0), train, 9, lambda e: RIGHT[e], 2, "real")


def test_labels_are_the_mean_of_experts_that_are_right():
    logits = jnp.array([[[2.0, 1], [0, 1], [3, 0]], [[4, 0], [1, 0], [5, 1]]])
    found = mean_of_right(logits, jnp.array([0, 1, 1]))
    np.testing.assert_allclose(found, [[3, 0.5], [0, 1], [4, 0.5]])  # for the last none is right: the mean of all


def test_noise_has_deviation_one_and_hard_labels():
    config = datm.MttConfig(ipc=8, start="noise")
    experts = Trajectories(np.zeros((1, 1, 1)), (0,), {}, lambda flat: flat)  # no expert is asked
    found = begin(config, jax.random.key(0), testing.toy_train(), MODEL, experts)
    assert found.images.shape == (24, 8, 8, 3) and 0.95 < float(found.images.std()) < 1.05
    np.testing.assert_array_equal(found.labels, np.eye(3)[np.repeat(np.arange(3), 8)])


MODEL = datm.network(datm.DatmConfig(width=16, depth=2), (16, 16, 3), 4)


@functools.cache
def compiled_bytes(steps, hypergradient, remat, micro):
    config = datm.DatmConfig(
        inner_steps=steps, hypergradient=hypergradient, remat=remat, micro_batch=micro, ipc=16, last_start=2
    )
    inner = student(config, MODEL, 64 // (micro or 64))

    def run(learned, theta, rate, drawn):
        form = HYPERGRADIENTS[hypergradient](remat)
        return form(inner, lambda end: squared_distance(end, theta), theta, learned, rate, (None, drawn))

    floats = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((64, 16, 16, 3), (64, 4), ())]
    theta = jax.eval_shape(MODEL.init, jax.random.key(0))
    keys = jax.random.split(jax.random.key(0), steps)
    drawn = jax.eval_shape(jax.vmap(lambda key: AUGMENTATIONS["dsa"]().draw(key, 64, (16, 16))), keys)
    lowered = jax.jit(run).lower((floats[0], floats[1]), theta, floats[2], drawn)
    return lowered.compile().memory_analysis().temp_size_in_bytes


def shapes(steps):
    return datm_memory.shapes_of(MODEL, (16, 16, 3), 64, 4, steps, 64, 1, "cpu")


@pytest.mark.parametrize(
    ("hypergradient", "remat", "micro"),
    [
        ("exact", "nothing", 0),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [("exact", "dots", 0), ("adjoint", "nothing", 16)]),
    ],
)
def test_the_predicted_peak_is_within_a_factor_of_two(hypergradient, remat, micro):
    way = datm_memory.Way(hypergradient, remat, 64 // (micro or 64))
    found = compiled_bytes(12, hypergradient, remat, micro)
    predicted = datm_memory.peak(shapes(12), way)
    assert found / 2 < predicted < 2 * found, (found, predicted)


@pytest.mark.slow
def test_under_remat_a_further_step_costs_its_weights():
    # parameters, gathered batch, and the drawn augmentation, which is small
    growth = (compiled_bytes(40, "exact", "nothing", 0) - compiled_bytes(12, "exact", "nothing", 0)) / 28
    batch = 4 * 64 * (16 * 16 * 3 + 4)
    assert growth <= 1.2 * (4 * shapes(1).parameters + batch)


def test_a_budget_is_met_by_keeping_less_and_then_by_pieces(caplog):
    whole, asked = shapes(40), datm_memory.Way("exact", "dots", 1)
    gib = [datm_memory.peak(whole, dataclasses.replace(asked, **fields)) / 2**30
           for fields in ({}, {"remat": "nothing"}, {"remat": "nothing", "pieces": 64})]  # fmt: skip
    with caplog.at_level("INFO", "ddjax.datm"):
        assert datm_memory.fitted(whole, asked, gib[0] * 1.01) == asked
    assert "40 inner steps of 64 images in 1 pieces" in caplog.text
    assert datm_memory.fitted(whole, asked, gib[1] * 1.01) == dataclasses.replace(asked, remat="nothing")
    assert datm_memory.fitted(whole, asked, gib[2] * 1.01).pieces > 8
    with pytest.raises(ValueError, match=r"memory=.* cannot hold.*hypergradient='tesla_replay'"):
        datm_memory.fitted(whole, asked, gib[2] * 0.9)
