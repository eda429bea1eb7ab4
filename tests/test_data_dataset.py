"""The `Dataset` record, its selections, the checks of its arrays, and the two sets without files."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddjax.data import load, prepare, select, subset, synthetic
from ddjax.data.validate import assemble, held_out
from ddjax.noise import NoiseSpec


def arrays(n=12, m=6, k=3, shape=(4, 4, 1)):
    random = np.random.default_rng(0)

    def draw(count):
        return random.integers(0, 256, (count, *shape)).astype(np.uint8)

    return {
        "images": draw(n),
        "labels": np.arange(n) % k,
        "test_images": draw(m),
        "test_labels": np.arange(m) % k,
    }


def made(**changes):
    return assemble("made", **{**arrays(), **changes})


SPREAD = made(ids=np.arange(12) * 7 + 3)


def test_assemble_sorts_every_column_by_id():
    plain = arrays()
    ids = np.array([7, 3, 11, 5, 0, 9, 1, 8, 2, 10, 4, 6]) * 10
    dataset = made(ids=ids, keys=[f"key {i}" for i in ids], extra_labels={"other": plain["labels"] + 5})
    assert dataset.ids.tolist() == sorted(ids)
    for row, i in enumerate(dataset.ids):
        source = ids.tolist().index(i)
        np.testing.assert_array_equal(dataset.images[row], plain["images"][source])
        assert dataset.labels[row] == plain["labels"][source] == dataset.extra_labels["other"][row] - 5
        assert dataset.keys[row] == f"key {i}"
    assert dataset.num_classes == 3
    assert dataset.image_shape == (4, 4, 1)
    assert dataset.provenance["counts"] == {"train": 12, "test": 6}


def test_digest_follows_the_content():
    digest = made().provenance["digest"]
    assert made().provenance["digest"] == digest
    changed = arrays()["images"].copy()
    changed[5, 0, 0, 0] ^= 1
    assert made(images=changed).provenance["digest"] != digest


BAD = {  # others are in doors_cases.py
    "zero rows": ({"images": np.zeros((0, 4, 4, 1), np.uint8), "labels": np.zeros(0, int)}, "empty"),
    "float range": ({"images": np.full((12, 4, 4, 1), -0.5)}, "standardisation"),
    "a pixel beyond 1": ({"images": np.linspace(0, 1.02, 192).reshape(12, 4, 4, 1)}, "up to 1.02: clip them"),
    "rank": ({"images": np.zeros((12, 16), np.uint8)}, r"\[n h w c\]"),
    "channels first": ({"images": np.zeros((12, 3, 8, 8), np.uint8)}, r"transpose\(0, 2, 3, 1\)"),
    "test shape": ({"test_images": np.zeros((6, 5, 5, 1), np.uint8)}, r"\[4, 4, 1\], test images \[5, 5, 1\]"),
    "unseen in training": ({"test_labels": np.full(6, 7)}, "test labels holds class 7"),
    "float labels": ({"labels": np.arange(12) % 3 + 0.0}, "astype"),
    "one-hot": ({"labels": np.eye(3)[np.arange(12) % 3]}, "argmax"),
    "length": ({"labels": np.arange(11) % 3}, r"\[11\], but there are 12 examples"),
    "float extra labels": ({"extra_labels": {"worst": np.arange(12) / 5}}, "extra_labels 'worst' must hold integers"),
}


@pytest.mark.parametrize("case", BAD)
def test_each_fault_has_its_own_clear_error(case):
    changes, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        made(**changes)


def test_lists_and_series_are_taken():
    plain, others = arrays(), {"worst": (np.arange(12) % 3).tolist()}
    lists = {name: array.tolist() for name, array in plain.items()}
    back = np.arange(12)[::-1]
    series = {"labels": pandas.Series(plain["labels"]), "ids": pandas.Series(back)}
    for changes in (lists | {"ids": back.tolist()}, series, {"labels": jnp.asarray(plain["labels"]), "ids": back}):
        found = made(**changes, extra_labels=others)
        assert found.provenance["digest"] == made(ids=back).provenance["digest"]
        assert found.extra_labels["worst"].tolist() == others["worst"][::-1]
    with pytest.raises(ValueError, match="made images must be one array, or a list of entries of one size: "):
        made(images=[np.zeros((4, 4)), np.zeros((5, 4))])


def test_floats_and_other_integers_become_the_same_pixels():
    plain = made()
    scaled = {name: arrays()[name] / 255.0 for name in ("images", "test_images")}
    wide = {name: arrays()[name].astype(np.int64) for name in ("images", "test_images")}
    bright = {name: arrays()[name].astype(np.float32) for name in ("images", "test_images")}
    for changes in (scaled, wide, bright):
        np.testing.assert_array_equal(made(**changes).images, plain.images)
        np.testing.assert_array_equal(made(**changes).test_images, plain.test_images)
    grey = {name: arrays()[name][..., 0] for name in ("images", "test_images")}
    column = {"labels": arrays()["labels"][:, None]}
    assert made(**grey, **column).provenance["digest"] == plain.provenance["digest"]


@pytest.mark.parametrize("white", [1.2, 2.0, 16.0])
def test_floats_between_the_two_scales_are_refused(white):
    grey = {name: arrays()[name] / 255.0 * white for name in ("images", "test_images")}
    grey["images"][0] = white
    with pytest.raises(
        ValueError, match=rf"images are floats up to {white:g}: clip .*, or divide them by the value of"
    ):
        made(**grey)
    with pytest.raises(ValueError, match="undo any standardisation first"):
        made(images=grey["images"] - 1)


@pytest.mark.parametrize("white", [1, 16])
def test_integers_whose_white_is_not_255_are_refused(white):
    dark = {name: np.minimum(arrays()[name], white) for name in ("images", "test_images")}
    with pytest.raises(ValueError, match=f"integers up to {white} and not 255: divide them by the value of white"):
        made(**dark)
    scaled = made(**{name: array / white for name, array in dark.items()})
    assert scaled.images.max() == 255


def test_dark_test_set_is_read_on_the_scale_of_the_training_set():
    dark = made(images=arrays()["images"].astype(float), test_images=np.ones((6, 4, 4, 1)))
    assert dark.test_images.max() == 1


def test_record_refuses_rows_that_do_not_fit():
    dataset = made()
    with pytest.raises(ValueError, match="ascending"):
        dataclasses.replace(dataset, ids=dataset.ids[::-1].copy())
    with pytest.raises(ValueError, match=r"keys has shape \(3,\) beside 12 images"):
        dataclasses.replace(dataset, keys=np.array(["a", "b", "c"]))


def test_subset_keeps_the_first_and_the_test_set():
    dataset = dataclasses.replace(made(keys=[str(i) for i in range(12)]), canonical=True)
    part = subset(dataset, 5)
    assert part.ids.tolist() == [0, 1, 2, 3, 4]
    assert part.keys.tolist() == ["0", "1", "2", "3", "4"]
    assert len(part.test_images) == 6
    assert dataset.canonical and not part.canonical
    assert subset(dataset, 12).canonical
    for count in (0, 13):
        with pytest.raises(ValueError, match=f"from 1 to 12 .* got {count}"):
            subset(dataset, count)


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 11), min_size=1), st.randoms(use_true_random=False))
def test_select_finds_rows_by_id_in_any_order(rows, random):
    dataset = SPREAD
    wanted = [int(dataset.ids[row]) for row in rows]
    random.shuffle(wanted)
    part = select(dataset, np.array(wanted))
    assert part.ids.tolist() == sorted(wanted)
    np.testing.assert_array_equal(part.images, dataset.images[sorted(rows)])
    np.testing.assert_array_equal(part.labels, dataset.labels[sorted(rows)])


def test_select_names_ids_it_does_not_have():
    dataset = made()
    with pytest.raises(ValueError, match=r"no training example with id \[12, 99\]"):
        select(dataset, np.array([3, 99, 12]))
    with pytest.raises(ValueError, match=r"repeated: \[4\]"):
        select(dataset, np.array([4, 4]))
    with pytest.raises(ValueError, match="no ids"):
        select(dataset, np.array([], int))


def test_a_long_tail_needs_examples_of_every_class():
    dataset = synthetic(3, 20)
    first = select(dataset, dataset.ids[dataset.labels < 2])
    with pytest.raises(ValueError, match="dataset has none of the classes 2: select other"):
        prepare(first, NoiseSpec(), imbalance=2.0)


def test_held_out_depends_on_each_key_alone():
    keys = [f"class/{i}.png" for i in range(2000)]
    whole = held_out(keys)
    np.testing.assert_array_equal(held_out(keys[::-1])[::-1], whole)
    np.testing.assert_array_equal(held_out(keys[500:600]), whole[500:600])
    assert abs(whole.mean() - 0.2) < 4 * (0.16 / 2000) ** 0.5


def test_digits_are_the_published_ones():
    from sklearn.datasets import load_digits

    dataset, bunch = load("digits"), load_digits()
    np.testing.assert_array_equal(np.rint(dataset.images[..., 0] * (16 / 255)), bunch.images[dataset.ids])
    np.testing.assert_array_equal(dataset.labels, bunch.target[dataset.ids])
    assert dataset.images.max() == 255
    assert (len(dataset.images), len(dataset.test_images)) == (1442, 355)
    test_rows = np.setdiff1d(np.arange(1797), dataset.ids)
    np.testing.assert_array_equal(dataset.test_labels, bunch.target[test_rows])
    for c in range(10):  # the last fifth of each class
        assert dataset.ids[dataset.labels == c].max() < test_rows[dataset.test_labels == c].min()


def test_synthetic_follows_from_its_seed():
    first, again, other = synthetic(seed=1), synthetic(seed=1, test_per_class=3), synthetic(seed=2)
    np.testing.assert_array_equal(first.images, again.images)
    assert (first.images != other.images).any()
    assert np.bincount(first.labels).tolist() == [20, 20, 20]
    assert synthetic(5, 2, (7, 9, 3)).image_shape == (7, 9, 3)


def test_a_small_convnet_learns_the_glyphs():
    dataset = synthetic(num_classes=4, per_class=30, seed=3, test_per_class=50)
    keys = jax.random.split(jax.random.key(0), 2)
    params = {"conv": 0.3 * jax.random.normal(keys[0], (3, 3, 1, 16)), "out": jnp.zeros((16 * 16, 4))}

    def logits(params, images):
        hidden = jax.lax.conv_general_dilated(
            images / 255 - 0.5, params["conv"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jax.nn.relu(hidden).reshape(len(images), -1) @ params["out"]

    def loss(params, images, labels):
        return optax.softmax_cross_entropy_with_integer_labels(logits(params, images), labels).mean()

    optimizer = optax.adam(1e-2)

    @jax.jit
    def train(params, images, labels):
        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params, images, labels), state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), length=150)[0][0]

    params = train(params, dataset.images.astype(np.float32), dataset.labels)
    guess = logits(params, dataset.test_images.astype(np.float32)).argmax(1)
    assert (guess == dataset.test_labels).mean() > 0.95
