import hashlib

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddjax.noise.corrupt import CHUNK, SAMPLERS, corrupt
from ddjax.noise.imbalance import long_tail, long_tail_counts
from ddjax.noise.labels import checksum
from ddjax.noise.orders import md5_order, published_order, tfds_order
from ddjax.noise.transition import matrix, symmetric

SYMMETRIC = symmetric(0.5, 10)
LABELS = np.arange(500) % 10
BOTH = pytest.mark.parametrize("sampler", SAMPLERS)


@BOTH
@pytest.mark.parametrize(("kind", "k", "expected"), [("symmetric", 10, 0.3), ("asymmetric", 10, 0.15)])
def test_effective_rate(sampler, kind, k, expected):
    labels = np.arange(20_000) % k
    flips = corrupt(labels, matrix(kind, 0.3, k, "cifar10"), sampler=sampler, seed=1) != labels
    assert abs(flips.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / len(labels))


@BOTH
def test_every_cell_is_drawn_as_often_as_it_says(sampler):
    rows = np.array([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0], [0.1, 0.0, 0.9]])
    labels = np.arange(30_000) % 3
    given_labels = corrupt(labels, rows, sampler=sampler, seed=5)
    for i in range(3):
        shares = np.bincount(given_labels[labels == i], minlength=3) / 10_000
        assert (np.abs(shares - rows[i]) <= 4 * np.sqrt(rows[i] * (1 - rows[i]) / 10_000)).all()


@BOTH
def test_shapes_dtypes_and_the_input(sampler):
    before = LABELS.copy()
    flat = corrupt(LABELS, SYMMETRIC, sampler=sampler)
    for same in (LABELS[:, None], LABELS.astype(np.uint8), LABELS.tolist(), jax.numpy.asarray(LABELS)):
        np.testing.assert_array_equal(corrupt(same, SYMMETRIC, sampler=sampler), flat)
    assert flat.dtype == np.int32 and flat.shape == (500,)
    assert flat.flags.writeable
    np.testing.assert_array_equal(LABELS, before)
    assert corrupt(LABELS[:0], SYMMETRIC, sampler=sampler).shape == (0,)


@BOTH
def test_seeds(sampler):
    draws = [corrupt(LABELS, SYMMETRIC, sampler=sampler, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(40)), st.sampled_from([1, 23, 40]))  # a program for each number of labels
def test_keyed_labels_depend_on_the_id_alone(permutation, kept):
    whole = corrupt(LABELS[:40], SYMMETRIC, sampler="jax", seed=3)
    rows = np.array(permutation[:kept])
    np.testing.assert_array_equal(corrupt(LABELS[rows], SYMMETRIC, sampler="jax", seed=3, ids=rows), whole[rows])


def test_keyed_labels_do_not_depend_on_their_chunk():
    labels = np.arange(CHUNK + 10) % 10
    whole = corrupt(labels, SYMMETRIC, sampler="jax")
    some = np.array([CHUNK + 3, 7, CHUNK - 1, CHUNK, 3])
    np.testing.assert_array_equal(corrupt(labels[some], SYMMETRIC, sampler="jax", ids=some), whole[some])


def test_keyed_labels_are_pinned():
    assert checksum(corrupt(LABELS, SYMMETRIC, sampler="jax"), 10) == "86853d7933776eda"


def test_legacy_draws_form_one_stream():
    whole = corrupt(LABELS, SYMMETRIC)
    np.testing.assert_array_equal(corrupt(LABELS[:100], SYMMETRIC), whole[:100])
    assert (corrupt(LABELS[::-1], SYMMETRIC)[::-1] != whole).any()


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (np.array([0.0, 1.0]), "must be integers.*float64"),
        (np.array([0.0, np.nan]), "must be integers.*float64"),
        (np.array([True, False]), "must be integers.*bool"),
        (np.array(["cat"]), "must be integers"),
        (np.array([0, -1]), r"0\.\.9.*labels\[1\] = -1"),
        (np.array([0, 3, 10, 11]), r"labels\[2\] = 10 \(2 of 4"),
        (np.zeros((4, 10), int), r"\[n\] or \[n, 1\], got \[4, 10\]"),
        (np.array(3), r"\[n\] or \[n, 1\]"),
    ],
)
def test_invalid_label_vectors_are_refused(labels, complaint):
    with pytest.raises(ValueError, match=complaint):
        corrupt(labels, SYMMETRIC)


def test_other_mistakes():
    with pytest.raises(ValueError, match=r"unknown sampler 'jaxx'.*Did you mean 'jax'"):
        corrupt(LABELS, SYMMETRIC, sampler="jaxx")
    with pytest.raises(ValueError, match="row 0 sums to"):
        corrupt(LABELS, SYMMETRIC * 0.5)
    with pytest.raises(ValueError, match=r"shape \[500\]"):
        corrupt(LABELS, SYMMETRIC, ids=np.arange(3))
    with pytest.raises(ValueError, match="none twice"):
        corrupt(LABELS, SYMMETRIC, ids=np.zeros(500, int))


def test_checksums_of_many_classes_use_two_bytes():
    labels = np.array([1, 300])
    assert checksum(labels, 301) == hashlib.sha256(b"\x01\x00\x2c\x01").hexdigest()[:16]
    assert checksum(labels % 256, 256) == hashlib.sha256(b"\x01\x2c").hexdigest()[:16]


def test_md5_order():
    order = tfds_order(50_000)
    assert order[:5].tolist() == [16399, 1680, 47917, 17307, 27051]
    assert len(set(order.tolist())) == 50_000
    digest = "b949abd3aa324e792be6dffe93e667040aa65a8c8870c2fe7e6cc9753238797a"
    assert hashlib.sha256(order.astype("<i8").tobytes()).hexdigest() == digest
    np.testing.assert_array_equal(md5_order(["2", "0", "1"]), [[2, 0, 1].index(i) for i in tfds_order(3)])


def test_published_order_exchanges_seven_pairs():
    order, published = tfds_order(50_000), published_order("cifar100")
    assert (order != published).sum() == 14
    assert sorted(published) == list(range(50_000))
    np.testing.assert_array_equal(published_order("cifar10"), order)


def test_published_order_files():
    from ddjax.storage.files import manual_dir

    for dataset, name in (("cifar10", "image_order_c10.npy"), ("cifar100", "image_order_c100.npy")):
        if not (manual_dir() / name).exists():
            pytest.skip(f"{name} is not in TFDS's manual folder")
        np.testing.assert_array_equal(published_order(dataset), np.load(manual_dir() / name))


def test_long_tail_takes_what_there_is():
    labels = np.random.RandomState(1).permutation(np.arange(1000) % 10)
    kept = long_tail(labels, 20.0)
    np.testing.assert_array_equal(np.bincount(labels[kept]), long_tail_counts(10, 20.0, 100))
    assert (np.diff(kept) > 0).all()
    assert len(long_tail(labels, 1.0)) == 1000
    assert (long_tail(labels, 20.0, seed=1) != kept).any()
    np.testing.assert_array_equal(long_tail(labels[:, None], 20.0, 50), long_tail(labels, 20.0, n_max=50))
    with pytest.raises(ValueError, match="class 0 has 100 examples, but the long tail needs 200; lower n_max"):
        long_tail(labels, 20.0, n_max=200)
    for ratio in (0.5, np.nan):
        with pytest.raises(ValueError, match="ratio"):
            long_tail(labels, ratio)


def test_labels_do_not_depend_on_the_multinomial_of_the_installed_numpy(monkeypatch):
    class Stream(np.random.RandomState):
        def multinomial(self, *arguments):
            raise AssertionError("from NumPy 2.5 on it takes a number for a probability of 0 as well")

    monkeypatch.setattr(np.random, "RandomState", Stream)
    matrix = np.eye(10)
    matrix[3, 3], matrix[3, 5] = 0.6, 0.4
    assert corrupt([3] * 12, matrix).tolist() == [3, 5, 3, 3, 5, 5, 3, 5, 3, 5, 3, 3]
