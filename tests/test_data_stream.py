"""Label noise on tf.data streams: the label of an example depends on its id alone."""

import numpy as np
import pytest

from ddjax.data import with_noise

NOISE = np.random.default_rng(1).integers(0, 9, 60)


def examples(count=60):
    import tensorflow as tf

    ids = [f"train_{i:05d}" for i in range(count)]
    numbers = list(range(count))
    return tf.data.Dataset.from_tensor_slices({"id": ids, "index": numbers, "label": [7] * count, "pixel": numbers})


def labels_by_pixel(dataset):
    seen = [(np.ravel(e["pixel"]), np.ravel(e["label"])) for e in dataset.as_numpy_iterator()]
    pixels, labels = (np.concatenate(column).tolist() for column in zip(*seen, strict=True))
    assert len(set(pixels)) == len(pixels)
    return dict(sorted(zip(pixels, labels, strict=True)))


PIPELINES = {
    "plain": lambda noisy, source: noisy(source),
    "after shuffling": lambda noisy, source: noisy(source.shuffle(60, seed=3)),
    "before shuffling": lambda noisy, source: noisy(source).shuffle(60, seed=3).batch(7).prefetch(2),
    "batched": lambda noisy, source: noisy(source.shuffle(60, seed=4).batch(7)),
    "interleaved": lambda noisy, source: noisy(
        source.range(4).interleave(lambda i: source.shard(4, i), cycle_length=3, block_length=5)
    ),
    "mapped": lambda noisy, source: noisy(source).map(lambda e: {**e, "label": e["label"] + 0}, num_parallel_calls=2),
}


TABLES = {
    "array": lambda d: with_noise(d, NOISE),
    "integer index": lambda d: with_noise(d, NOISE, id="index"),
    "mapping of numbers": lambda d: with_noise(d, dict(enumerate(NOISE.tolist())), id="index"),
    "mapping": lambda d: with_noise(d, {f"train_{i:05d}": int(y) for i, y in enumerate(NOISE)}),
}


@pytest.mark.parametrize(
    ("pipeline", "table"),
    [*((each, "array") for each in PIPELINES), *(("batched", each) for each in TABLES if each != "array")],
)
def test_noise_follows_the_id_through_any_pipeline(pipeline, table):
    noisy = PIPELINES[pipeline](TABLES[table], examples())
    assert labels_by_pixel(noisy) == dict(enumerate(NOISE.tolist()))


def test_noise_keeps_everything_else():
    source = examples()
    noisy = with_noise(source, NOISE)
    assert noisy.element_spec == source.element_spec
    assert next(noisy.as_numpy_iterator())["id"] == b"train_00000"


UNKNOWN = {
    "past the end": lambda d: with_noise(d, NOISE[:59]),
    "another split": lambda d: with_noise(d, NOISE, prefix="test_"),
    "not in the mapping": lambda d: with_noise(d, {"train_00000": 1}),
    "no label": lambda d: with_noise(d, np.where(np.arange(60) == 41, -1, NOISE)),
    "past the end, integers": lambda d: with_noise(d, NOISE[:59], id="index"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_unknown_ids_stop_the_iteration(case):
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError):
        list(UNKNOWN[case](examples()).as_numpy_iterator())


def test_noise_needs_ids_and_integers():
    with pytest.raises(ValueError, match="as_supervised=False"):
        with_noise(examples().map(lambda e: (e["pixel"], e["label"])), NOISE)
    with pytest.raises(ValueError, match=r"float64\[60\]"):
        with_noise(examples(), NOISE / 1.0)
