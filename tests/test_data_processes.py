"""Folders of many images: several processes decode them, and an interrupted call is continued."""

import json
import os
import subprocess

import numpy as np
import pytest
from image_files import pets, save, write_csv

from ddjax.data import cache as caching
from ddjax.data import images, load, load_all, loading, processes
from ddjax.data.source import Work


@pytest.fixture
def folder(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(processes, "MANY", 100)
    monkeypatch.setattr(processes, "AT_ONCE", 7)
    return pets(tmp_path / "pets")


def same(one, other):
    for field in ("images", "labels", "ids", "test_images", "test_labels", "keys"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    assert one.provenance == other.provenance


def quietly(done, total):
    pass


def test_the_result_is_that_of_one_process(folder, cache):
    (folder / "cat" / "7.png").write_bytes(b"no image")
    shown = []
    with pytest.warns(UserWarning, match=r"skips 1 unreadable files: cat/7\.png: not an image"):
        dataset = load(folder, report=lambda *counts: shown.append(counts))
    same(dataset, loading.locate(folder).read())
    assert [counts[0] for counts in shown] == [*range(7, 120, 7), 120] and {counts[1] for counts in shown} == {120}
    assert [path.suffix for path in (cache / "reading").iterdir()] == [".lock"]


@pytest.mark.slow
def test_grey_files_of_a_table(folder, tmp_path):
    for i in range(120):
        save(tmp_path / "grey" / f"{i}.png", i, mode="L")
    table = write_csv(tmp_path / "grey", [f"{i}.png,{i % 2}" for i in range(120)])
    dataset = load(table)
    assert dataset.image_shape == (6, 6, 1)
    same(dataset, loading.locate(table).read())


@pytest.mark.slow
def test_all_images_of_a_folder_are_decoded_once(folder, cache, monkeypatch):
    (folder / "cat" / "7.png").write_bytes(b"no image")
    first = load_all(folder)
    monkeypatch.setattr(images, "decode_files", None)
    same(load_all(folder), first)
    assert len(list((cache / "datasets").iterdir())) == 1 and first.provenance["skipped"]
    monkeypatch.undo()
    same(load_all(folder), first)  # so few files again that they are decoded here


def test_an_interrupted_call_is_continued(folder, cache, monkeypatch):
    def stop(done, total):
        if done > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(folder, report=stop)
    [work] = (path for path in (cache / "reading").iterdir() if path.is_dir())
    before = (work / processes.DONE).read_text()
    assert 5 < len(before.splitlines()) < 18
    (work / processes.DONE).write_text(before + "[35, [[3")  # a line that was not finished
    started = []
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **more: started.append(args) or real(*args, **more))
    same(load(folder), loading.locate(folder).read())
    assert len(started) == len(os.sched_getaffinity(0)) and not work.exists()


@pytest.mark.slow
def test_other_files_are_decoded_anew(folder, tmp_path):
    names = sorted(f"cat/{i}.png" for i in range(60))
    work = Work(tmp_path / "work", quietly)
    for chosen in (names, names[::-1]):
        array, parts = processes.decode_by_processes(chosen, folder, None, (6, 6), work)
        assert all(part.grey is False and not part.skipped for part in parts)
        assert array[:, 0, 0, 1].tolist() == [int(name[4:-4]) for name in chosen]


@pytest.mark.slow
def test_errors_are_those_of_one_process(folder, cache):
    save(folder / "dog" / "7.png", (8, 8, 8), size=(3, 3))
    with pytest.raises(ValueError, match=r"119 of 6 x 6, 1 of other sizes: 'dog/7\.png' \(3 x 3\); use image_size=32"):
        load(folder)
    for i in range(3):
        (folder / "cat" / f"{i}.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"\d of 120 image files cannot be read"):
        load(folder, image_size=4)
    assert not [path for path in (cache / "reading").iterdir() if path.is_dir()]


def test_a_full_disk_is_told_before_the_reading(folder, cache, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left on device for 0\.0 GiB of images.*reading/pets-.*/images\.npy"):
        load(folder)
    assert not list((cache / "reading").rglob("*.npy"))


def test_a_process_that_dies_is_said(folder, tmp_path):
    work = Work(tmp_path / "work", quietly)
    _, parts = processes.decode_by_processes(["cat/0.png"], folder, None, (6, 6), work)
    (work.folder / "images.npy").write_bytes(b"harmed")
    with pytest.raises(RuntimeError, match=r"a process that decodes images ended with status 1; .* goes on there"):
        list(parts)


def test_a_cache_that_cannot_be_written_leaves_all_in_memory(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="is not cached and stays in memory"):
        same(load(folder, cache_dir=tmp_path / "file"), loading.locate(folder).read())


def test_another_process_that_was_faster_is_believed(folder, cache, monkeypatch):
    source = loading.locate(folder)
    fast = source.read()

    def slow(work):
        raise AssertionError("read twice")

    def wait(*arguments, **options):
        caching.store(fast, caching.place(source, cache))
        return open(os.devnull)

    monkeypatch.setattr(caching, "alone", wait)
    same(caching.fetch(source._replace(read=slow), cache), fast)


def test_the_processes_import_no_heavy_library():
    code = "import sys, ddjax.decoding; print([name for name in ('jax', 'tensorflow', 'scipy') if name in sys.modules])"
    assert json.loads(subprocess.check_output([os.sys.executable, "-c", code], text=True)) == []


def test_images_without_a_folder_of_work_stay_in_memory(folder):
    names = [f"cat/{i}.png" for i in range(60)] * 2
    assert getattr(images.decode_files(names, folder).images, "filename", None) is None
