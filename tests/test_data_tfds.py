"""TFDS data sets, which TFDS writes here."""

import hashlib
import shutil

import numpy as np
import pytest
from fuzzing import flip
from test_data_tiny_imagenet import PARTIAL, WNIDS, published

from ddjax.data import load, mapped, tfds_known, with_noise
from ddjax.data.tfds import canonical_ids, prepare, prepared, tensorflow_datasets
from ddjax.storage import files


def text(features):
    return features.Text()


def md5_order(count, split="train"):
    """TFDS's write order for keys that are running integers."""
    return np.argsort([int(hashlib.md5(f"{split}{i}".encode()).hexdigest(), 16) for i in range(count)])


def in_order():
    return tensorflow_datasets().ReadConfig(interleave_cycle_length=1)


def image(number, size=(6, 6)):
    pixels = np.full((*size, 3), number, np.uint8)
    pixels[-1, -1] = 255
    return pixels


def write(root, name, splits, *, version="1.0.0", shape=(6, 6, 3), **features):
    """Let TFDS write {split: [example, ...]} as a prepared data set."""
    tfds = tensorflow_datasets()
    features = {kind: make(tfds.features) for kind, make in features.items()}
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=version,
        data_dir=str(root),
        features=tfds.features.FeaturesDict(
            {"image": tfds.features.Image(shape=shape), "label": tfds.features.ClassLabel(names=["a", "b"]), **features}
        ),
        split_datasets={split: list(enumerate(rows)) for split, rows in splits.items()},
    )


def numbered(split, count, order=None):
    order = range(count) if order is None else order
    return [{"id": f"{split}_{i:05d}", "image": image(i), "label": i % 2} for i in order]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A TFDS directory with a set whose ids are shuffled, one without ids, and one of odd sizes."""
    root = tmp_path_factory.mktemp("tfds")
    order = np.random.default_rng(0).permutation(50)
    splits = {"train": numbered("train", 50, order), "test": numbered("test", 6, [3, 1, 5, 0, 4, 2])}
    write(root, "shuffled", splits, id=text)
    plain = {s: [{k: e[k] for k in ("image", "label")} for e in splits[s]] for s in splits}
    write(root, "plain", {"train": plain["train"]})
    odd = [{"image": image(i, (6 + i, 9)), "label": i % 2} for i in range(4)]
    write(root, "odd", {"train": odd, "test": odd}, shape=(None, None, 3))
    return root


def test_ids_are_scattered_into_place(root, cache):
    dataset = load("tfds:shuffled", data_dir=root)
    assert dataset.ids.tolist() == list(range(50))
    assert dataset.images[:, 0, 0, 0].tolist() == list(range(50))
    assert dataset.labels.tolist() == [i % 2 for i in range(50)]
    assert dataset.keys[:2].tolist() == ["train_00000", "train_00001"]
    assert dataset.test_images[:, 0, 0, 0].tolist() == list(range(6))
    assert dataset.test_labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert dataset.class_names == ("a", "b")


def test_a_large_set_is_read_into_a_file(root, cache, monkeypatch):
    small = [load(f"tfds:{name}", data_dir=root, image_size=size) for name, size in SMALL]
    monkeypatch.setattr(mapped, "LARGE", 0)
    shown = []
    for (name, size), before in zip(SMALL, small, strict=True):
        more = {"image_size": size, "cache_dir": cache / "other", "report": lambda *counts: shown.append(counts)}
        dataset = load(f"tfds:{name}", data_dir=root, **more)
        for field in ("images", "labels", "ids", "test_images", "test_labels", "keys"):
            np.testing.assert_array_equal(getattr(dataset, field), getattr(before, field))
        assert dataset.provenance == before.provenance
    assert shown[0] == (50, 50) and shown[-1] == (4, 4)
    assert [path.suffix for path in (cache / "other" / "reading").iterdir()] == [".lock"] * len(SMALL)


SMALL = [("shuffled", None), ("odd", 4)]


def test_slices_keep_their_ids(root, cache):
    dataset = load("tfds:shuffled", data_dir=root, train_split="train[:40%]", test_split="train[40%:]")
    assert len(dataset.ids) == 20
    assert dataset.images[:, 0, 0, 0].tolist() == dataset.ids.tolist()
    assert sorted([*dataset.ids, *dataset.test_images[:, 0, 0, 0]]) == list(range(50))


def test_sets_without_ids_keep_reading_order_and_keys(root, cache):
    dataset = load("tfds:plain", data_dir=root, train_split="train[:30]", test_split="train[30:]")
    again = load("tfds:plain", data_dir=root, train_split="train[:30]", test_split="train[30:]", cache_dir=cache / "2")
    assert dataset.ids.tolist() == list(range(30))
    assert len(set(dataset.keys.tolist())) == 30
    np.testing.assert_array_equal(dataset.images, again.images)
    with pytest.raises(ValueError, match=r"no split 'test', only train.*train\[:80%\]"):
        load("tfds:plain", data_dir=root)


def test_odd_sizes_need_an_image_size(root, cache):
    with pytest.raises(ValueError, match="differ in size; use image_size="):
        load("tfds:odd", data_dir=root)
    assert load("tfds:odd", data_dir=root, image_size=5).images.shape == (4, 5, 5, 3)


def test_pixels_of_more_than_a_byte_are_refused(tmp_path, cache):
    rows = [{"image": np.full((6, 6, 3), 300, np.uint16), "label": i % 2} for i in range(4)]
    write(tmp_path, "deep", {"train": rows, "test": rows}, image=lambda f: f.Image(shape=(6, 6, 3), dtype=np.uint16))
    with pytest.raises(ValueError, match="images of deep are uint16, and only uint8 is read"):
        load("tfds:deep", data_dir=tmp_path)


def test_label_features_are_named(root, cache):
    with pytest.raises(ValueError, match=r"class-label features \['label'\].*'fine'"):
        load("tfds:shuffled", data_dir=root, labels="fine")


def test_missing_sets_say_where_and_how(tmp_path, cache):
    with pytest.raises(FileNotFoundError, match=r"cifar10/VERSION/dataset_info.json.*c4a38c50a1bc.*download=True"):
        load("cifar10", data_dir=tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"CIFAR-10_human_annotations\.csv.*clean_label,aggre_label,worse_label"
    ):
        load("cifar10_n", data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing_like_it is not prepared"):
        load("tfds:nothing_like_it", data_dir=tmp_path)


def test_newest_version_is_taken_as_a_number(tmp_path):
    for version in ("3.0.2", "3.0.10", "3.0.11.incompleteX"):
        (tmp_path / "set" / version).mkdir(parents=True)
        (tmp_path / "set" / version / "dataset_info.json").write_text("{}")
    assert prepared("set", tmp_path).name == "3.0.10"
    assert prepared("set:3.0.2", tmp_path).name == "3.0.2"
    assert prepared("set:4.0.0", tmp_path) is prepared("set:newest", tmp_path) is None


def test_damaged_records_are_said(root, cache, tmp_path):
    shutil.copytree(root / "shuffled", tmp_path / "shuffled")
    flip(next((tmp_path / "shuffled").glob("*/*train*")))
    with pytest.raises(ValueError, match="is damaged, delete it and prepare it again"):
        load("tfds:shuffled", data_dir=tmp_path)


def test_canonical_ids_fill_every_slot_once():
    assert canonical_ids(np.array(["train_2", "train_0", "train_1"]), "x", complete=True).tolist() == [2, 0, 1]
    assert canonical_ids(np.array(["some.jpg", "train_0"]), "x", complete=True) is None
    with pytest.raises(ValueError, match=r"\[1\] occur more than once"):
        canonical_ids(np.array(["train_1", "train_1", "train_0"]), "x", complete=True)
    with pytest.raises(ValueError, match=r"no example has id \[1\]"):
        canonical_ids(np.array(["train_0", "train_2"]), "x", complete=True)
    assert canonical_ids(np.array(["train_0", "train_2"]), "x", complete=False).tolist() == [0, 2]


def human_labels(rates, count=50_000):
    clean = np.zeros(count, int)
    flipped = {f: np.arange(count) < round(rate * count) for f, rate in rates.items()}
    return {"label": clean, **{f: flip.astype(int) for f, flip in flipped.items()}}


def test_swapped_human_label_columns_are_found():
    rates = dict(tfds_known.HUMAN_RATES["cifar10_n"])
    tfds_known.check_human_labels("cifar10_n", "train", human_labels(rates))
    rates["aggre_label"], rates["worse_label"] = rates["worse_label"], rates["aggre_label"]
    with pytest.raises(
        ValueError, match=r"aggre_label 0.4021 \(published 0.0901\).*clean_label,aggre_label,worse_label"
    ):
        tfds_known.check_human_labels("cifar10_n", "train", human_labels(rates))


def test_old_builders_and_wrong_rates_are_refused_at_the_door(tmp_path, cache):
    features = {"noise_label": lambda f: f.ClassLabel(num_classes=2)}
    train = [{**e, "noise_label": 1} for e in numbered("train", 8)]
    test = [{**e, "noise_label": -1} for e in numbered("test", 4)]
    splits = {"train": train, "test": test}
    write(tmp_path / "old", "cifar100_n", splits, id=text, **features)
    with pytest.raises(ValueError, match=r"1\.0\.0 .* wrong images; prepare version 1\.0\.1"):
        load("cifar100_n", data_dir=tmp_path / "old")
    write(tmp_path, "cifar100_n", splits, version="1.0.1", id=text, **features)
    with pytest.raises(ValueError, match=r"noise_label 0\.5000 \(published 0\.4020\)"):
        load("cifar100_n", data_dir=tmp_path)


def test_human_labels_leave_the_test_set_clean(tmp_path, cache):
    features = {"human": lambda f: f.ClassLabel(num_classes=2), "coarse": lambda f: f.ClassLabel(names=["x"])}
    train = [{**e, "human": 1 - e["label"], "coarse": 0} for e in numbered("train", 8)]
    test = [{**e, "human": -1, "coarse": 0} for e in numbered("test", 4)]
    write(tmp_path, "people", {"train": train, "test": test}, id=text, **features)
    dataset = load("tfds:people", data_dir=tmp_path, labels="human")
    assert dataset.labels.tolist() == [1, 0] * 4
    assert dataset.extra_labels["label"].tolist() == [0, 1] * 4
    assert dataset.test_labels.tolist() == [0, 1, 0, 1]
    assert dataset.class_names == ("a", "b")
    coarse = load("tfds:people", data_dir=tmp_path, labels="coarse")
    assert coarse.test_labels.tolist() == [0] * 4
    assert coarse.class_names == ("x",)


@PARTIAL
def test_tiny_imagenet_builder_agrees_with_the_folder(tmp_path, cache, monkeypatch):
    wnids = [f"n{i:03d}" for i in range(197)]
    monkeypatch.setattr("test_data_tiny_imagenet.WNIDS", [*WNIDS, *wnids])
    for name, data in published(per_class=2, test=200).items():
        path = files.manual_dir(tmp_path) / "tiny-imagenet-200" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    prepare("tiny_imagenet", tmp_path)
    ours, theirs = load("tiny_imagenet", data_dir=tmp_path), load("tfds:tiny_imagenet", data_dir=tmp_path)
    assert ours.class_names == theirs.class_names
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    np.testing.assert_array_equal(ours.test_labels, theirs.test_labels)
    assert abs(ours.images.astype(int) - theirs.images).max() <= 4  # two JPEG decoders
    assert theirs.keys[:2].tolist() == ["train_000000", "train_000001"]
    assert not theirs.canonical
    builder = tensorflow_datasets().builder_from_directory(prepared("tiny_imagenet", tmp_path))
    stored = builder.as_dataset(split="train", read_config=in_order())
    written = [int(i.decode()[-6:]) for i in stored.map(lambda e: e["id"]).as_numpy_iterator()]
    assert written == md5_order(400).tolist()


def test_a_tfds_stream_with_noise(root):
    noise = np.random.default_rng(1).integers(0, 9, 50)
    builder = tensorflow_datasets().builder_from_directory(prepared("shuffled", root))
    noisy = with_noise(builder.as_dataset(split="train", shuffle_files=True).shuffle(50, seed=0), noise).batch(8)
    pairs = [(e["image"][:, 0, 0, 0], e["label"]) for e in noisy.as_numpy_iterator()]
    for pixel, label in pairs:
        np.testing.assert_array_equal(noise[pixel], label)
    assert sum(len(label) for _, label in pairs) == 50
