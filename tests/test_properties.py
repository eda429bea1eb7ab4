"""What holds for all noise, all subsets and all distilled sets, tried on drawn ones."""

import dataclasses
import json
import tempfile

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ddjax import preprocess
from ddjax.data import prepare, synthetic
from ddjax.data.dataset import select, subset
from ddjax.distilled import LABEL_KINDS, DistilledSet, expand, pixels, targets
from ddjax.distilled.saving import load_distilled, save_distilled
from ddjax.noise import NoiseSpec, apply
from ddjax.noise.transition import matrix

KINDS = ("symmetric", "symmetric_inclusive", "pairflip", "frequency")
RATES = st.one_of(st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.floats(0, 1))
DRAWN = settings(max_examples=120, deadline=None)


@st.composite
def labelled(draw):
    """Clean labels of K = 2..100 classes, each seen, under ids with gaps."""
    k = draw(st.integers(2, 100))
    extra = draw(st.integers(0, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = rng.permutation(np.concatenate([np.arange(k), rng.integers(0, k, extra)])).astype(np.int32)
    ids = np.sort(rng.choice(10 * len(labels), len(labels), replace=False)).astype(np.int32)
    return k, labels, ids


@pytest.mark.faults(9, "matrices of every kind, K = 2..100, rates 0..1", "rows are shares, the rate is what was asked")
@pytest.mark.parametrize("kind", KINDS)
def test_matrices(kind):
    @DRAWN
    @given(st.integers(2, 100), RATES, st.integers(0, 99))
    @example(2, 1.0, 0)
    @example(100, 1.0, 0)
    def one(k, rate, seed):
        counts = np.random.default_rng(seed).integers(1, 500, k)
        built = matrix(kind, rate, k, counts=counts)
        assert (built >= 0).all() and (built <= 1).all()
        np.testing.assert_allclose(built.sum(axis=1), 1, atol=1e-12)
        kept = 1 - rate * ((k - 1) / k if kind == "symmetric_inclusive" else 1)
        np.testing.assert_allclose(np.diag(built), kept, atol=1e-12)

    one()


@pytest.mark.faults(9, "labels drawn by every kind, K = 2..100, rates 0..1", "valid, counted, repeatable, by id")
@pytest.mark.parametrize("kind", KINDS)
def test_given_labels(kind):
    @settings(DRAWN, max_examples=40)
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
@given(st.integers(2, 100), st.floats(0.02, 0.98), st.integers(0, 999), st.sampled_from(["numpy_legacy", "jax"]))
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


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_select_of_a_subset(data):
    count = data.draw(st.integers(2, 40))
    first = subset(DATASET, count)
    wanted = np.array(sorted(data.draw(st.sets(st.sampled_from(first.ids.tolist()), min_size=1))))
    part = select(first, wanted)
    np.testing.assert_array_equal(part.ids, wanted)
    np.testing.assert_array_equal(part.labels, DATASET.labels[np.searchsorted(DATASET.ids, wanted)])
    np.testing.assert_array_equal(part.images, select(DATASET, wanted).images)


@st.composite
def distilled_sets(draw):
    """Sets of every kind of label, coded or not, mirrored or not, with a step size or without."""
    k, m = draw(st.integers(2, 5)), draw(st.sampled_from([1, 4]))
    shape = (m, 4, 6, draw(st.sampled_from([1, 3])))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    kind = draw(st.sampled_from(sorted(LABEL_KINDS)))
    soft = rng.standard_normal((m, k)).astype(np.float32)
    labels = {
        "hard": (np.arange(m) % k).astype(np.int32),
        "logits": soft,
        "probabilities": np.abs(soft) / np.abs(soft).sum(1, keepdims=True),
        "regression": soft,
    }
    raw = rng.integers(0, 256, (5, *shape[1:])).astype(np.uint8)
    transform = preprocess.fit(draw(st.sampled_from(["unit", "standardize"])), raw)
    return DistilledSet(
        images=jnp.asarray(rng.standard_normal(shape), jnp.float32),
        labels=jnp.asarray(labels[kind]),
        step_size=draw(st.sampled_from([None, jnp.float32(0.03)])),
        preprocess=transform,
        num_classes=k,
        label_kind=kind,
        space=transform.fingerprint,
        factor=draw(st.sampled_from([1, 2])),
        flip=draw(st.booleans()),
        provenance=json.dumps({"names": draw(st.lists(st.text(max_size=5), max_size=3))}),
    )


@settings(max_examples=6, deadline=None)
@given(distilled_sets(), st.booleans())
def test_distilled_sets_come_back_as_they_were(made, embed):
    with tempfile.TemporaryDirectory() as folder:
        path = save_distilled(made, f"{folder}/set", embed=embed)
        back = load_distilled(path, None if embed else made.preprocess)
    for field in dataclasses.fields(DistilledSet):
        old, new = getattr(made, field.name), getattr(back, field.name)
        if hasattr(old, "shape"):
            assert old.dtype == new.dtype
            np.testing.assert_array_equal(old, new)
        elif field.name == "preprocess":
            assert old.fingerprint == new.fingerprint
        elif field.name == "provenance":
            assert json.loads(old) == json.loads(new)
        else:
            assert old == new
    plain = expand(back)
    assert len(plain.images) == len(made.images) * made.factor**2 * (1 + made.flip) == len(targets(plain))
    np.testing.assert_allclose(pixels(back), pixels(made), rtol=0, atol=0)
