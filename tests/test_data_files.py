"""Folders of images, .npz and .csv files, written here and read back, and the errors for damaged ones."""

import os
import warnings

import numpy as np
import pytest
from image_files import pets, save, write_csv
from PIL import Image

from ddjax.data import load, load_all
from ddjax.data.images import decode_files
from ddjax.data.source import walk
from ddjax.data.validate import held_out
from ddjax.decoding import fit_square


@pytest.fixture
def folder(tmp_path):
    return pets(tmp_path / "pets")


def test_folder_is_numbered_by_its_sorted_listing(folder, cache):
    dataset = load(folder)
    listing = sorted(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(60))
    test = held_out(listing)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.ids.tolist() == np.flatnonzero(~test).tolist()
    assert dataset.keys.tolist() == [listing[i] for i in dataset.ids]
    for key, image, label in zip(dataset.keys, dataset.images, dataset.labels, strict=True):
        name, number = key.removesuffix(".png").split("/")
        assert label == ("cat", "dog").index(name)
        assert (image == [100 * label, int(number), 7]).all()
    assert len(dataset.test_images) == test.sum()
    assert sorted(dataset.test_images[:, 0, 0, 1]) == sorted(int(listing[i][4:-4]) for i in np.flatnonzero(test))


def test_folder_with_its_own_test_set_and_every_format(tmp_path, cache):
    for i, suffix in enumerate(["png", "jpg", "JPEG", "bmp", "webp", "gif"]):
        save(tmp_path / "train" / "a" / f"{i}.{suffix}", (80, 80, 80))
        save(tmp_path / "train" / "b" / "deeper" / f"{i}.{suffix}", (160, 160, 160))
    save(tmp_path / "Test" / "b" / "x.png", (160, 160, 160))  # the case is that of some archives
    (tmp_path / "train" / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "train" / ".hidden").mkdir()
    dataset = load(tmp_path)
    assert dataset.ids.tolist() == list(range(12))
    assert dataset.labels.tolist() == [0] * 6 + [1] * 6
    assert abs(dataset.images[:6].astype(int) - 80).max() <= 2  # JPEG and WebP are lossy
    assert dataset.test_labels.tolist() == [1]


def test_grey_files_become_rgb_where_the_set_is(tmp_path, cache):
    for i in range(3):
        save(tmp_path / "train" / "a" / f"{i}.png", 50 + i, mode="L")
        save(tmp_path / "train" / "b" / f"{i}.png", 60 + i, mode="L")
        save(tmp_path / "test" / "a" / f"{i}.png", 70, mode="L")
    assert load(tmp_path).image_shape == (6, 6, 1)
    save(tmp_path / "test" / "b" / "colour.png", (1, 2, 3))
    dataset = load(tmp_path)
    assert dataset.image_shape == (6, 6, 3)
    assert dataset.images[:, 0, 0].tolist() == [[g] * 3 for g in (50, 51, 52, 60, 61, 62)]
    assert dataset.test_images[-1, 0, 0].tolist() == [1, 2, 3]


def test_damaged_files_are_left_out_by_name_and_move_no_id(folder, cache):
    whole = load(folder)
    bad = str(whole.keys[10])
    (folder / bad).write_bytes((folder / bad).read_bytes()[:40])
    with pytest.warns(UserWarning, match=f"skips 1 unreadable files: {bad}"):
        dataset = load(folder)
    assert dataset.ids.tolist() == np.delete(whole.ids, 10).tolist()
    np.testing.assert_array_equal(dataset.images, np.delete(whole.images, 10, axis=0))
    assert [s.split(":")[0] for s in dataset.provenance["skipped"]] == [bad]
    assert whole.canonical and not dataset.canonical
    with pytest.warns(UserWarning, match=bad):  # said again when it comes from the cache
        load(folder)
    with pytest.raises(ValueError, match=bad):
        load(folder, strict=True)
    other = str(whole.keys[20])
    (folder / other).write_bytes(b"")
    with pytest.raises(ValueError, match="2 of 120 image files cannot be read"):
        load(folder)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for i in range(200):
        save(tmp_path / f"{i}.png", 9)
    save(tmp_path / "7.png", 9, size=(40, 40))  # between once and twice the limit Pillow only warns
    names = [f"{i}.png" for i in range(200)]
    decoded = decode_files(names, lambda name: (tmp_path / name).read_bytes())
    assert np.flatnonzero(~decoded.kept).tolist() == [7]
    assert "DecompressionBomb" in decoded.skipped[0]


def test_sixteen_bit_images_are_scaled_to_eight(tmp_path):
    levels = np.array([[0, 128, 129, 257], [40_000, 65_278, 65_407, 65_535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    decoded = decode_files(["deep.png"], lambda name: (tmp_path / name).read_bytes())
    assert decoded.images[0, ..., 0].tolist() == [[0, 0, 1, 1], [156, 254, 255, 255]]
    resized = decode_files(["deep.png"], lambda name: (tmp_path / name).read_bytes(), image_size=1)
    assert resized.images.item() in (127, 128)  # the mean of the middle square


def test_sizes_must_agree_or_be_made_to(folder, cache):
    save(folder / "cat" / "0.png", (9, 9, 9), size=(12, 10))
    save(folder / "dog" / "7.png", (8, 8, 8), size=(3, 3))
    wanted = r"118 of 6 x 6, 2 of other sizes: 'cat/0\.png' \(12 x 10\), 'dog/7\.png' \(3 x 3\); use image_size=32"
    with pytest.raises(ValueError, match=wanted):
        load(folder)
    assert load(folder, image_size=4).image_shape == (4, 4, 3)


def test_fit_square_crops_the_centre_and_averages():
    image = np.zeros((4, 8), np.uint8)
    image[:, 2:4], image[:, 4:6] = 100, 200
    image[:, 6:] = 255
    np.testing.assert_array_equal(np.asarray(fit_square(Image.fromarray(image), 2)), [[100, 200], [100, 200]])
    assert fit_square(Image.fromarray(image[:, :4]), 4).size == (4, 4)


def test_links_to_a_folder_above_are_refused_together(folder, tmp_path, cache):
    for name, target in {
        "cat/again": folder,
        "dog/self": folder / "dog",
        "selfloop": folder,
        "cat/up": tmp_path,
    }.items():
        (folder / name).symlink_to(target, target_is_directory=True)
    with pytest.raises(ValueError) as caught:
        load(folder)
    head, *lines = str(caught.value).splitlines()
    assert head == f"{folder} cannot be read as it is:"
    assert [line.split("'")[1] for line in lines] == [
        str(folder / name) for name in ("cat/again", "cat/up", "dog/self", "selfloop")
    ]
    assert all(line.endswith("a folder that contains it: remove the link") for line in lines)
    with pytest.raises(ValueError, match="cat/again' is a link to"):
        list(walk(folder))


def test_two_folders_that_link_to_each_other_end(folder, tmp_path, cache):
    save(tmp_path / "more" / "0.png", (1, 1, 1))
    (folder / "cat" / "more").symlink_to(tmp_path / "more", target_is_directory=True)
    (tmp_path / "more" / "back").symlink_to(folder / "cat", target_is_directory=True)
    with pytest.raises(ValueError, match="cat/more/back' is a link to"):
        load(folder)


def test_a_file_that_a_link_brings_into_two_classes_is_reported(folder, tmp_path, cache):
    (folder / "dog" / "linked").symlink_to(folder / "cat", target_is_directory=True)
    with pytest.warns(UserWarning, match=r"labels \(60\): cat/0\.png \(cat\), dog/linked/0\.png \(dog\); .*55 more"):
        load(folder)
    with pytest.warns(UserWarning, match=r"identical images with different labels \(60\)"):  # from the cache
        load(folder)
    rows = [f"cat/{i}.png,{i % 2}" for i in range(30)] + ["dog/linked/7.png,0"]
    with pytest.warns(UserWarning, match=r"labels \(1\): cat/7\.png \(1\), dog/linked/7\.png \(0\)$"):
        load(write_csv(folder, rows))


def test_folder_faults(folder, tmp_path, cache):
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"class folders of .*pets without an image .*: 'empty'; fill or remove"):
        load(folder)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="holds no class folders"):
        load(tmp_path / "nothing")
    save(tmp_path / "odd" / "train" / "a" / "0.png", 1, mode="L")
    save(tmp_path / "odd" / "test" / "b" / "0.png", 1, mode="L")
    with pytest.raises(ValueError, match=r"class folders of .*test that .*train lacks: 'b'"):
        load(tmp_path / "odd")
    save(tmp_path / "tiny" / "a" / "0.png", 1, mode="L")
    with pytest.raises(ValueError, match="too few to hold out a test set"):
        load(tmp_path / "tiny")


def test_folders_that_are_not_meant_are_named(tmp_path, monkeypatch):
    for number, place in enumerate(("train/a", "train/b", "test/a", "val/a")):
        save(tmp_path / "digits" / place / "0.png", number, mode="L")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(match="is the folder"), pytest.warns(match="only train and test are read, and not 'val'"):
        assert len(load_all("digits").images) == 3
    with pytest.warns(UserWarning, match="and not 'val'"):
        load_all("./digits")


def test_unknown_data_sets_are_refused(tmp_path, cache, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="Did you mean 'cifar10'"):
        load("cifar_10")
    for name in ("no/such/folder", "missing.npz", f".{os.sep}gone"):
        with pytest.raises(FileNotFoundError, match="there is no"):
            load(name)
    (tmp_path / "file.tar").write_bytes(b"")
    with pytest.raises(ValueError, match="neither a folder"):
        load("file.tar")
    for read in (load, load_all):  # an empty path would be the working directory
        with pytest.raises(ValueError, match=r"name must be one of digits, .*; got ''"):
            read("")


def test_options_that_have_no_meaning_are_refused(folder, cache):
    with pytest.raises(ValueError, match="labels= is for TFDS sets"):
        load(folder, labels="coarse_label")
    with pytest.raises(ValueError, match="image_size= is for sets of image files"):
        load("digits", image_size=4)
    with pytest.raises(ValueError, match="got 0"):
        load(folder, image_size=0)


def test_warning_filters_do_not_change_the_result(folder, cache):
    """Pillow's remarks on odd files must not depend on how the caller treats warnings."""
    image = Image.new("P", (6, 6))
    image.save(folder / "cat" / "0.png", transparency=b"\0" * 256)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not load(folder).provenance["skipped"]
