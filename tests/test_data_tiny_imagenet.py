"""The published layout of Tiny-ImageNet, with few images, and the real set if it is in the manual folder."""

import hashlib
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from ddjax.data import load, loading, published_numbering
from ddjax.data.tiny_imagenet import NAME, TRAIN, listing
from ddjax.storage import files

WNIDS = ["n30", "n10", "n20"]  # in the order of wnids.txt, which is not sorted
PARTIAL = pytest.mark.filterwarnings("ignore:partial copy of tiny_imagenet:UserWarning")


def jpeg(level, mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, (64, 64), level if mode == "L" else (level, level, level)).save(buffer, "JPEG")
    return buffer.getvalue()


def published(per_class=12, test=6):
    """{path: bytes} of a small set: grey level 10 * class by file + number; every fifth file is greyscale."""
    entries = {"wnids.txt": "\n".join(WNIDS).encode(), "words.txt": b"n10\tone\n"}
    for c, wnid in enumerate(WNIDS):
        for i in range(per_class):
            data = jpeg(60 * c + 2 * i, "L" if i % 5 == 0 else "RGB")
            entries[f"train/{wnid}/images/{wnid}_{i}.JPEG"] = data
        entries[f"train/{wnid}/{wnid}_boxes.txt"] = b"boxes"
    rows = [(f"val_{i}.JPEG", WNIDS[i % 3]) for i in range(test)]
    entries["val/val_annotations.txt"] = "".join(f"{n}\t{w}\t0\t0\t9\t9\n" for n, w in rows).encode()
    entries.update({f"val/images/{n}": jpeg(60 * WNIDS.index(w)) for n, w in rows})
    return entries


@pytest.fixture
def root(tmp_path):
    """A TFDS directory with the small set as a folder."""
    for name, data in published().items():
        path = files.manual_dir(tmp_path) / NAME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path


@PARTIAL
def test_canonical_order_and_numbering(root, cache):
    dataset = load("tiny_imagenet", data_dir=root)
    assert dataset.class_names == ("n10", "n20", "n30")
    assert dataset.labels.tolist() == [0] * 12 + [1] * 12 + [2] * 12
    numbers = [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]  # sorted as strings
    levels = [60 * WNIDS.index(w) + 2 * i for w in ("n10", "n20", "n30") for i in numbers]
    assert abs(dataset.images[:, 32, 32].astype(int) - np.array(levels)[:, None]).max() <= 2
    assert dataset.image_shape == (64, 64, 3)  # grey files included
    assert dataset.test_labels.tolist() == [0, 0, 1, 1, 2, 2]
    test_levels = [60 * WNIDS.index(dataset.class_names[c]) for c in dataset.test_labels]
    assert abs(dataset.test_images[:, 0, 0, 0].astype(int) - test_levels).max() <= 2
    assert not dataset.canonical


@PARTIAL
def test_published_numbering_is_the_line_in_wnids(root, cache):
    dataset = load("tiny_imagenet", data_dir=root)
    numbering = published_numbering(dataset)
    assert [WNIDS[line] for line in numbering] == list(dataset.class_names)
    assert numbering[np.argsort(numbering)].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="carries no wnids"):
        published_numbering(load("digits"))


@PARTIAL
def test_the_zip_holds_the_same(root, cache, tmp_path):
    other = tmp_path / "other"
    files.manual_dir(other).mkdir(parents=True)
    with zipfile.ZipFile(files.manual_dir(other) / f"{NAME}.zip", "w") as archive:
        for name, data in published().items():
            archive.writestr(f"{NAME}/{name}", data)
    folder, zipped = load("tiny_imagenet", data_dir=root), load("tiny_imagenet", data_dir=other)
    assert folder.provenance["digest"] == zipped.provenance["digest"]
    assert folder.keys.tolist() == zipped.keys.tolist()
    archive = files.manual_dir(other) / f"{NAME}.zip"
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"tiny-imagenet-200\.zip is damaged, fetch it again"):
        load("tiny_imagenet", data_dir=other)


def test_partial_copies_and_missing_ones_are_said(root, cache, tmp_path):
    with pytest.warns(UserWarning, match="36 of 100000 training and 6 of 10000 validation images"):
        load("tiny_imagenet", data_dir=root)
    with pytest.raises(FileNotFoundError, match="tiny_imagenet is in neither"):
        load("tiny_imagenet", data_dir=tmp_path / "nowhere")
    (files.manual_dir(root) / NAME / "wnids.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"wnids\.txt"):
        load("tiny_imagenet", data_dir=root)


def test_classes_outside_wnids_are_refused(root, cache):
    stranger = files.manual_dir(root) / NAME / "train" / "n99" / "images" / "n99_0.JPEG"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(jpeg(3))
    with pytest.raises(ValueError, match=r"\['n99'\]"):
        load("tiny_imagenet", data_dir=root)


@pytest.fixture
def real():
    folder = files.manual_dir() / NAME
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


def test_real_numbering_against_the_published_label_vector(real):
    """Clean labels of the complete set in TFDS write order, classes as lines of wnids.txt."""
    lines = (real / "wnids.txt").read_text().split()
    keys = [f"{wnid}/{wnid}_{i}.JPEG" for wnid in sorted(lines) for i in range(500)]
    assert len(keys) == TRAIN
    order = np.argsort([hashlib.md5(f"train{key}".encode()).digest() for key in keys], kind="stable")
    numbering = np.array([lines.index(wnid) for wnid in sorted(lines)])
    vector = np.repeat(numbering, 500)[order].astype(np.uint8)
    assert vector[:10].tolist() == [13, 160, 119, 180, 97, 166, 2, 106, 25, 4]
    assert hashlib.sha256(vector.tobytes()).hexdigest()[:16] == "dd47fa4e08150d95"


def test_real_listing(real):
    found = listing(real)
    assert found.wnids[:3] == ["n01443537", "n01629819", "n01641577"]
    assert found.wnids_file[:3] == ["n02124075", "n04067472", "n04540053"]
    assert np.bincount([c for _, c in found.test]).tolist() == [50] * 200
    assert len({c for _, c in found.train}) == 200


@pytest.mark.slow
@PARTIAL
def test_real_set_loads(real, cache):
    dataset = load("tiny_imagenet")
    per_class = np.bincount(dataset.labels)
    assert len(per_class) == 200
    assert (per_class == per_class[0]).all()
    assert dataset.test_images.shape == (10_000, 64, 64, 3)
    assert np.bincount(dataset.test_labels).tolist() == [50] * 200
    grey = (dataset.test_images == dataset.test_images[..., :1]).all(axis=(1, 2, 3)).sum()
    assert grey >= 168  # of the published validation files 168 are greyscale; an RGB file may look grey
    assert not dataset.provenance["skipped"]


def test_a_link_to_a_folder_above_does_not_stop_the_list_of_data_sets(tmp_path):
    folder = files.manual_dir(tmp_path) / NAME
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "again").symlink_to(folder, target_is_directory=True)
    assert loading.whereabouts("tiny_imagenet", tmp_path) == str(folder)
    with pytest.raises(ValueError, match="remove the link"):
        load("tiny_imagenet", data_dir=tmp_path)
