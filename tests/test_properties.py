"""What holds for all noise and all subsets, tried on drawn ones."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddjax.data import prepare, synthetic
from ddjax.noise import NoiseSpec, apply
from ddjax.noise.corrupt import SAMPLERS

KINDS = ("symmetric", "symmetric_inclusive", "pairflip", "frequency")
RATES = st.one_of(st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.floats(0, 1))


@st.composite
def labelled(draw):
    """Clean labels of K = 2..100 classes, each seen, under ids with gaps."""
    k = draw(st.integers(2, 100))
    extra = draw(st.integers(0, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = rng.permutation(np.concatenate([np.arange(k), rng.integers(0, k, extra)])).astype(np.int32)
    ids = np.sort(rng.choice(10 * len(labels), len(labels), replace=False)).astype(np.int32)
    return k, labels, ids


@pytest.mark.faults(9, "labels drawn by every kind, K = 2..100, rates 0..1", "valid, counted, repeatable, by id")
@pytest.mark.parametrize("kind", KINDS)
def test_given_labels(kind):
    @settings(max_examples=40, deadline=None)
    @given(labelled(), RATES, st.integers(0, 2**32 - 1))
    def one(drawn, rate, seed):
        k, labels, ids = drawn
        before = labels.copy()
        given_labels, record = apply(NoiseSpec(kind, rate, seed=seed), labels, ids, k)
        np.testing.assert_array_equal(labels, before)
        assert given_labels.dtype == np.int32 and given_labels.min() >= 0 and given_labels.max() < k
        assert record["flips"] == (given_labels != labels).sum() and json.dumps(record)
        assert record["effective_rate"] == record["flips"] / len(labels)
        if rate == 0:
            assert record["flips"] == 0
        if rate == 1 and kind in ("symmetric", "pairflip", "frequency"):
            assert record["flips"] == len(labels)
        if kind == "pairflip":
            assert set(((given_labels - labels) % k).tolist()) <= {0, 1}
        again, same = apply(NoiseSpec(kind, rate, seed=seed), labels, ids, k)
        np.testing.assert_array_equal(again, given_labels)
        assert same == record
        rows = np.random.default_rng(seed).permutation(len(ids))
        shuffled, _ = apply(NoiseSpec(kind, rate, seed=seed), labels[rows], ids[rows], k)
        np.testing.assert_array_equal(shuffled, given_labels[rows])

    one()


@pytest.mark.faults(9, "symmetric noise over many labels", "flips are as many as asked, within five deviations")
@settings(max_examples=25, deadline=None)
@given(st.sampled_from([2, 10, 100]), st.floats(0.02, 0.98), st.integers(0, 999), st.sampled_from([*SAMPLERS]))
def test_the_share_of_flips(k, rate, seed, sampler):
    labels = (np.arange(4000) % k).astype(np.int32)
    _, record = apply(NoiseSpec("symmetric", rate, seed=seed, sampler=sampler), labels, np.arange(4000), k)
    assert abs(record["effective_rate"] - rate) < 5 * np.sqrt(rate * (1 - rate) / 4000)


DATASET = synthetic(4, 10, (6, 6, 1))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), RATES, st.integers(0, 99))
def test_a_label_does_not_depend_on_what_is_left_out(limit, rate, seed):
    whole = prepare(DATASET, NoiseSpec("symmetric", rate=rate, seed=seed))
    part = prepare(DATASET, NoiseSpec("symmetric", rate=rate, seed=seed), limit=limit)
    np.testing.assert_array_equal(part.train.labels, whole.train.labels[:limit])
    np.testing.assert_array_equal(part.train.ids, part.audit.ids)
    np.testing.assert_array_equal(part.audit.labels, DATASET.labels[:limit])
    assert part.noise["checksum"] == whole.noise["checksum"]
