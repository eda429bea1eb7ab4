"""The data cache: the same content, memory-mapped, with damage found and repaired."""

import concurrent.futures
import dataclasses
import errno
import os

import numpy as np
import pytest
from fuzzing import flip, resealed
from image_files import npz

from ddjax.data import cache as caching
from ddjax.data import load, loading, synthetic
from ddjax.storage.files import replacing


@pytest.fixture
def source(tmp_path):
    return npz(tmp_path / "set.npz")


def entry(source):
    return loading.cache_place(loading.locate(source))


def same(a, b):
    for name in ("images", "labels", "ids", "test_images", "test_labels", "keys"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.name, a.class_names, a.canonical) == (b.name, b.class_names, b.canonical)
    assert a.provenance == b.provenance


def test_round_trip_is_memory_mapped_and_read_only(source, cache):
    direct = loading.locate(source).read()
    first, second = load(source), load(source, verify=True)
    same(first, second)
    same(first, direct)
    for array in (first.images, second.images):
        assert isinstance(array.base, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert entry(source).parent == cache / "datasets"
    assert [p.name for p in (cache / "datasets").iterdir()] == [entry(source).name]  # nothing is left aside


def test_extra_labels_survive(tmp_path):
    dataset = synthetic()
    dataset = dataclasses.replace(dataset, extra_labels={"human": dataset.labels[::-1].copy()})
    caching.store(dataset, tmp_path / "entry")
    again = caching.load(tmp_path / "entry")
    np.testing.assert_array_equal(again.extra_labels["human"], dataset.labels[::-1])
    assert again.keys is None


def test_a_changed_source_is_another_entry(source, cache):
    before, first = entry(source), load(source)
    with np.load(source) as file:
        arrays = dict(file)
    np.savez(source, **{**arrays, "labels": arrays["labels"][::-1]})
    assert entry(source) != before
    assert load(source).provenance["digest"] != first.provenance["digest"]


DAMAGE = {
    "truncated array": ("images.npy", lambda p: os.truncate(p, 500)),
    "missing array": ("labels.npy", os.remove),
    "bad json": ("manifest.json", lambda p: p.write_text('{"name": ')),
    "json of another kind": ("manifest.json", lambda p: p.write_text("[]")),
    "another schema": ("manifest.json", lambda p: resealed(p, schema=2)),
    "missing manifest": ("manifest.json", os.remove),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named_and_repaired(source, cache, case):
    first = loading.locate(source).read()  # not from the files that are about to be harmed
    load(source)
    name, harm = DAMAGE[case]
    harm(entry(source) / name)
    with pytest.warns(UserWarning, match="damaged cache .*set-.* is made again"):
        repaired = load(source)
    same(first, repaired)
    same(first, load(source, verify=True))
    assert [p.name for p in (cache / "datasets").iterdir()] == [entry(source).name]


def read_only(*_):
    raise OSError(errno.EROFS, "Read-only file system")


def test_verify_finds_a_flipped_bit(source, cache, monkeypatch):
    first = loading.locate(source).read()
    load(source)
    flip(entry(source) / "images.npy")
    with monkeypatch.context() as patch:
        patch.setattr("os.rename", read_only)
        for _ in range(2):  # the entry cannot be replaced
            with pytest.warns(UserWarning, match=r"images\.npy differs from what was written"):
                same(load(source, verify=True), first)
    with pytest.warns(UserWarning, match=r"images\.npy differs from what was written"):
        same(load(source, verify=True), first)
    same(load(source, verify=True), first)  # a warning would be an error: the entry is whole again


def test_an_unwritable_cache_is_said_and_survived(source, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="is not cached and stays in memory"):
        dataset = load(source, cache_dir=tmp_path / "file")
    assert len(dataset.images) == 40


def test_many_at_once_agree_and_leave_one_entry(source, cache):
    direct = loading.locate(source).read()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for dataset in pool.map(lambda _: load(source), range(16)):
            same(dataset, direct)
    assert [p.name for p in (cache / "datasets").iterdir()] == [entry(source).name]


def test_an_entry_that_another_process_stored_first_stays(tmp_path):
    first, second = synthetic(seed=1), synthetic(seed=2)
    caching.store(first, tmp_path / "entry")
    caching.store(second, tmp_path / "entry")
    np.testing.assert_array_equal(caching.load(tmp_path / "entry").images, first.images)
    assert [p.name for p in tmp_path.iterdir()] == ["entry"]


def test_cached_arrays_go_to_jax(source, cache):
    import jax.numpy as jnp

    load(source)
    assert jnp.asarray(load(source).images).sum() == 25 * 3 * sum(range(40))


def test_files_are_as_readable_as_the_umask_lets_them_be(tmp_path):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "kept.json", "w") as file:
            file.write("{}")
    finally:
        os.umask(before)
    assert (tmp_path / "kept.json").stat().st_mode & 0o777 == 0o640
