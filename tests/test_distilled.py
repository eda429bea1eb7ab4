"""Distilled sets: decoding, targets, saving and loading, and every error of a file."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fuzzing import flip, resealed

from ddjax import preprocess
from ddjax.distilled import DistilledSet, check, decode, expand, pixels, saving, targets
from ddjax.storage.files import sha256

RNG = np.random.default_rng(0)
RAW = RNG.integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)


def a_set(label_kind="hard", m=4, spec="standardize", **fields):
    transform = preprocess.fit(spec, RAW)
    labels = jnp.arange(m, dtype=jnp.int32) % 2
    if label_kind != "hard":
        labels = jax.nn.one_hot(labels, 2) * 0.9 + 0.05
    fields = {"images": preprocess.apply(transform, RAW[:m]), "labels": labels, **fields}
    return DistilledSet(
        **fields, num_classes=2, label_kind=label_kind, space=transform.fingerprint, preprocess=transform
    )


def test_bilinear_enlargement_has_half_pixel_centres():
    line = jnp.zeros((1, 32, 32, 1)).at[0, :, 0, 0].set(1.0)  # the first column of the left cells
    out = decode.cells(line, 2)[0, 0, :4, 0]
    np.testing.assert_allclose(out, [1.0, 0.75, 0.25, 0.0], atol=1e-6)


def test_decode_keeps_mass():
    stored = jax.random.uniform(jax.random.key(0), (2, 8, 8, 1))
    adjoint = jax.grad(lambda x: decode.cells(x, 2).sum())(stored)
    np.testing.assert_allclose(adjoint, 4.0, rtol=1e-5)  # each stored pixel reaches factor^2 decoded ones
    assert (decode.cells(stored, 1) == stored).all()
    np.testing.assert_allclose(decode.cells(jnp.full((1, 9, 9, 1), 0.5), 2), 0.5, atol=1e-6)


def test_cells_come_cell_major():
    mosaic = jnp.kron(jnp.array([[0.0, 2.0], [4.0, 6.0]]), jnp.ones((2, 2)))
    stored = jnp.stack([mosaic, mosaic + 1])[..., None]
    assert decode.cells(stored, 2)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]  # cells row by row
    assert decode.sources(2, 2) == [0, 1, 0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("cap", "m", "plan", "out"),
    [
        (128, 20, [(3, 12), (2, 3), (1, 5)], 125),
        (128, 50, [(3, 8), (2, 3), (1, 39)], 123),
        (200, 20, [(3, 20)], 180),
        (200, 50, [(3, 16), (2, 5), (1, 29)], 193),
        (128, 200, [(1, 200)], 200),
    ],
)
def test_bounded_formation(cap, m, plan, out):
    assert decode.bounded(m, 3, cap) == plan
    assert sum(f**2 * n for f, n in plan) == out == len(decode.sources(m, 3, "bound", cap))
    assert sorted(set(decode.sources(m, 3, "bound", cap))) == list(range(m))


def test_multi_formation_holds_every_factor():
    stored = jax.random.uniform(jax.random.key(0), (2, 12, 12, 3))
    assert decode.decode(stored, 3, "multi").shape == (2 * (1 + 4 + 9), 12, 12, 3)
    with pytest.raises(ValueError, match="single, multi, bound"):
        decode.decode(stored, 3, "many")


def test_expand_decodes_by_class_and_mirrors():
    coded = a_set(factor=2, flip=True)
    plain = expand(coded)
    assert len(plain.images) == 4 * 4 * 2 and plain.factor == 1 and not plain.flip
    half = len(plain.images) // 2
    assert (plain.images[half:] == plain.images[:half, :, ::-1]).all()
    first = decode.decode(coded.images[coded.labels == 0], 2)
    np.testing.assert_array_equal(plain.images[: len(first)], first)
    assert (plain.labels[: len(first)] == 0).all()


def test_targets_of_each_kind():
    assert targets(a_set()).tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    logits = a_set("logits")
    np.testing.assert_allclose(targets(logits), jax.nn.softmax(logits.labels), rtol=1e-6)
    learned = a_set("regression")
    assert (targets(learned) == learned.labels).all()


def test_pixels_are_the_inverse():
    np.testing.assert_allclose(pixels(a_set()), RAW[:4] / 255, atol=1e-5)
    with pytest.raises(ValueError, match="has no preprocess"):
        pixels(dataclasses.replace(a_set(), preprocess=None))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"images": jnp.zeros((4, 8, 8))}, "images must be floats"),
        ({"images": jnp.zeros((4, 8, 8, 3), jnp.uint8)}, "images must be floats"),
        ({"images": jnp.full((4, 8, 8, 3), jnp.nan)}, "images contain NaN"),
        ({"labels": jnp.zeros((3,), jnp.int32)}, "must have shape"),
        ({"labels": jnp.zeros((4,), jnp.float32)}, "must be integers"),
        ({"labels": jnp.array([0, 1, 2, 0])}, "0..1"),
        ({"label_kind": "soft"}, "known: hard"),
        ({"formation": "double"}, "unknown formation 'double'; known: single, multi, bound"),
        ({"space": "elsewhere"}, "elsewhere"),
    ],
)
def test_impossible_sets_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        check(dataclasses.replace(a_set(), **fields))


@pytest.mark.parametrize("label_kind", ["hard", "logits", "probabilities", "regression"])
@pytest.mark.parametrize("spec", ["standardize", "datm"])
def test_round_trip(tmp_path, label_kind, spec, cache):
    more = {"factor": 2} if spec == "datm" else {"step_size": jnp.float32(0.03), "flip": True}
    original = a_set(label_kind, spec=spec, provenance=json.dumps({"names": ["Käse\n", ""]}), **more)
    path = saving.save_distilled(original, tmp_path / "set")
    back = saving.load_distilled(path)
    assert jax.tree.structure(back) == jax.tree.structure(original) and back.provenance == original.provenance
    jax.tree.map(np.testing.assert_array_equal, back, original)
    assert [leaf.dtype for leaf in jax.tree.leaves(back)] == [leaf.dtype for leaf in jax.tree.leaves(original)]
    np.testing.assert_array_equal(pixels(back), pixels(original))
    assert json.loads((tmp_path / "set.json").read_text())["versions"]["jax"] == jax.__version__


def test_a_transform_can_stay_outside(tmp_path, cache):
    original = a_set(spec="datm")
    path = saving.save_distilled(original, tmp_path / "set", embed=False)
    assert saving.load_distilled(path).preprocess is None
    jax.tree.map(np.testing.assert_array_equal, saving.load_distilled(path, original.preprocess), original)
    other = preprocess.fit("standardize", RAW)
    with pytest.raises(ValueError, match=rf"{original.space}.*{other.fingerprint}"):
        saving.load_distilled(path, other)


def _change(**fields):
    return lambda npz, side: resealed(side, **fields)


def _factor_2(npz, side):
    side.write_text(side.read_text().replace('"factor": 1', '"factor": 2'))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda npz, side: flip(npz), "damaged or replaced"),
        (lambda npz, side: npz.write_bytes(npz.read_bytes()[:100]), "damaged or replaced"),
        (lambda npz, side: npz.unlink(), "set.npz is missing"),
        (lambda npz, side: side.unlink(), "set.json is missing"),
        (lambda npz, side: side.write_text("not json"), "is not JSON"),
        (lambda npz, side: side.write_bytes(b"\xff\xfe"), "is not JSON"),
        (lambda npz, side: side.write_text("[]"), "does not describe a distilled set"),
        (_change(format="other"), "does not describe a distilled set"),
        (_change(schema=99), "schema 99"),
        (_change(space=...), "space is missing"),
        (_factor_2, "differs from what was written"),
        (_change(num_classes=1), "0..0"),
    ],
)
def test_damaged_and_foreign_files_say_what_is_wrong(tmp_path, damage, words):
    path = saving.save_distilled(a_set(), tmp_path / "set")
    damage(path, path.with_suffix(".json"))
    with pytest.raises(ValueError, match=words):
        saving.load_distilled(tmp_path / "set")


def test_pickle_is_never_read(tmp_path):
    path = saving.save_distilled(a_set(), tmp_path / "set")
    np.savez(path, images=np.array([{}], object), labels=np.zeros(1))
    vouched = {"arrays": {"bytes": path.stat().st_size, "sha256": sha256(path)}}
    resealed(path.with_suffix(".json"), files=vouched)
    with pytest.raises(ValueError, match="not a readable"):
        saving.load_distilled(path)


def test_a_set_of_schema_1_is_read(tmp_path):
    """Schema 1 recorded one SHA-256, and no digest of the manifest."""
    path = saving.save_distilled(a_set(), tmp_path / "set")
    side = path.with_suffix(".json")
    meta = json.loads(side.read_text())
    del meta["files"], meta["seal"]
    side.write_text(json.dumps(meta | {"schema": 1, "sha256": sha256(path)}))
    jax.tree.map(np.testing.assert_array_equal, saving.load_distilled(path).images, a_set().images)
    side.write_text(json.dumps(meta | {"schema": 1, "sha256": "0" * 64}))
    with pytest.raises(ValueError, match="damaged or replaced"):
        saving.load_distilled(path)
