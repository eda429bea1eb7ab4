"""Fingerprints of transforms, their cache, and their arrays."""

import json

import jax
import numpy as np
import pytest
from fuzzing import flip
from test_preprocess import random_images

from ddjax import preprocess
from ddjax.preprocess import SPECS, Spec, fit, fitting


def test_fingerprints_name_the_space(cache):
    images, others = random_images(), random_images(seed=1)
    named = fit("datm", images).fingerprint
    assert named.startswith("datm-zca-absolute-0.1:") and len(named.split(":")[1]) == 16
    assert fit("datm", images.copy(), "cifar10").fingerprint == named
    distinct = [
        named,
        fit("datm", others).fingerprint,
        fit(Spec("datm", zca="absolute", eps=0.2), images).fingerprint,
        fit(Spec("datm", zca="relative"), images).fingerprint,
        fit("rcig", images, "cifar10").fingerprint,
        fit("rcig", images, "cifar100").fingerprint,
        fit("rcig", images).fingerprint,
        fit("dance", images, "cifar10").fingerprint,
        fit("standardize", images).fingerprint,
        fit("standardize", others).fingerprint,
        fit("unit", images).fingerprint,
    ]
    assert len(set(distinct)) == len(distinct)
    assert fit("unit", images).fingerprint == fit("unit", others).fingerprint
    assert fit("dance", images, "cifar10").fingerprint == fit("dance", others, "cifar10_n").fingerprint
    assert fit("dance", images, "cifar100").fingerprint == fit("dance", images, "cifar100_coarse").fingerprint


def test_a_whitening_is_fitted_once(cache, monkeypatch):
    images = random_images()
    first = fit("datm", images)
    monkeypatch.setattr(fitting, "whitening", None)
    again = fit("datm", images)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), first, again))
    with pytest.raises(TypeError):
        fit("datm", images, cache=False)
    with pytest.raises(TypeError):
        fit("datm", random_images(seed=1))


def truncated(path):
    path.write_bytes(path.read_bytes()[:-50])


def emptied(path):
    path.write_bytes(b"")


def exchanged(path):
    with open(path, "wb") as file:
        np.savez(file, zca_mean=np.zeros(3, np.float32), zca=np.eye(3), zca_inverse=np.eye(3))


def pickled(path):
    with open(path, "wb") as file:
        np.savez(file, zca_mean=np.array([{}], object), zca=np.eye(3), zca_inverse=np.eye(3))


@pytest.mark.parametrize("damage", [truncated, flip, emptied, exchanged, pickled])
def test_a_damaged_cache_is_named_and_replaced(damage, cache):
    images = random_images()
    first = fit("datm", images)
    (path,) = (cache / "preprocess").glob("*.npz")
    damage(path)
    with pytest.warns(UserWarning, match=path.name):
        again = fit("datm", images)
    np.testing.assert_array_equal(first.zca, again.zca)
    fit("datm", images)  # a warning would be an error: the file is whole again


def test_an_unwritable_cache_is_said_and_survived(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DDJAX_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="the whitening is not cached"):
        fitted = fit("datm", random_images())
    np.testing.assert_array_equal(fitted.zca, fit("datm", random_images(), cache=False).zca)


def test_without_cache_nothing_is_written(cache):
    fit("datm", random_images(), cache=False)
    fit("dance", random_images())
    assert not cache.exists()


def test_arrays_and_back(cache, tmp_path):
    images = random_images()
    for name in SPECS:
        p = fit(name, images)
        arrays, static = preprocess.save_arrays(p)
        np.savez(tmp_path / "p.npz", **arrays)
        with np.load(tmp_path / "p.npz", allow_pickle=False) as file:
            back = preprocess.from_arrays(dict(file), json.loads(json.dumps(static)))
        assert jax.tree.structure(back) == jax.tree.structure(p)
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), back, p))
    arrays, static = preprocess.save_arrays(fit("rcig", images))
    for wrong in [
        ({k: v for k, v in arrays.items() if k != "std"}, static),
        (arrays | {"offset": arrays["mean"]}, static),
        (arrays, {"name": "rcig"}),
    ]:
        with pytest.raises(ValueError, match="not a saved preprocess"):
            preprocess.from_arrays(*wrong)
