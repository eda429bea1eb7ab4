"""TFDS image-classification sets as arrays with stable ids.

Only this file, `stream` and `tiny_imagenet_builder` import TensorFlow, and only when data are read. Finding a prepared
set and opening its cached arrays needs neither TensorFlow nor TFDS. A set is read once, as a stream; many images are
written into a file, and taken from there in the order of their ids.
"""

import contextlib
import json
import pathlib
import re
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ddjax.data.dataset import Dataset
from ddjax.data.images import RESIZE
from ddjax.data.mapped import empty, taken
from ddjax.data.source import Source, Work, listing_digest, walk
from ddjax.data.tfds_known import MINIMUM_VERSION, PUBLISHED_SIZE, check_human_labels, missing_message
from ddjax.data.tiny_imagenet import TEST, TRAIN, partial_warning
from ddjax.data.validate import assemble
from ddjax.decoding import fit_square

ID = re.compile(r"[a-z]+_(\d+)")


def prepared(name: str, data_dir: pathlib.Path) -> pathlib.Path | None:
    """The folder of the newest prepared version of `NAME`, `NAME/CONFIG` or either with `:VERSION`, or None."""
    name, _, version = name.partition(":")
    folder = data_dir / name
    versions = [
        tuple(map(int, path.name.split(".")))
        for path in (folder.iterdir() if folder.is_dir() else [])
        if re.fullmatch(r"\d+\.\d+\.\d+", path.name) and (path / "dataset_info.json").is_file()
    ]
    if version:
        versions = [v for v in versions if ".".join(map(str, v)) == version]
    return folder / ".".join(map(str, max(versions))) if versions else None


def prepare(name: str, data_dir: pathlib.Path) -> None:
    """Prepare a set with TFDS, which downloads it or reads it from the manual folder."""
    tfds = tensorflow_datasets()
    if name.partition(":")[0] == "tiny_imagenet":
        import ddjax.data.tiny_imagenet_builder  # noqa: F401  (registers the builder)
    tfds.builder(name, data_dir=str(data_dir)).download_and_prepare()


def tensorflow_datasets() -> Any:
    """Import TFDS, and hide the accelerators from TensorFlow, because their memory belongs to JAX.

    Raises:
      ImportError: a package is not installed; the message names both.
    """
    try:
        import tensorflow as tf
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"TFDS sets need two packages ({error}): pip install tensorflow-datasets tensorflow. Digits, folders, .npz "
            "and .csv files need neither"
        ) from error
    for kind in ("GPU", "TPU"):
        with contextlib.suppress(RuntimeError):  # another importer of TensorFlow is using them already
            tf.config.set_visible_devices([], kind)
    return tfds


def tfds_source(
    name: str,
    shown: str,
    data_dir: pathlib.Path,
    *,
    labels: str,
    train_split: str,
    test_split: str,
    image_size: int | None,
    download: bool,
) -> Source:
    """Find a set in the TFDS directory.

    If the `id` feature has the form `train_00042`, the number is the canonical id, regardless of the reading order.
    Otherwise the id is the position in unshuffled reading without interleaving, and `keys` holds the id of TFDS.

    Raises:
      FileNotFoundError: the set is not prepared.
      ValueError: the version has wrong labels, or a split does not exist.
    """
    folder = prepared(name, data_dir)
    if folder is None and download:
        prepare(name, data_dir)
        folder = prepared(name, data_dir)
    if folder is None:
        raise FileNotFoundError(missing_message(name, data_dir))
    plain = name.partition(":")[0]
    if tuple(map(int, folder.name.split("."))) < MINIMUM_VERSION.get(plain, (0,)):
        raise ValueError(
            f"{plain} {folder.name} in {data_dir} attaches labels to the wrong images; prepare version "
            f"{'.'.join(map(str, MINIMUM_VERSION[plain]))} or newer"
        )
    _check_splits(folder, {"train_split": train_split, "test_split": test_split})
    options = {"labels": labels, "train_split": train_split, "test_split": test_split, "image_size": image_size}
    identity = {"kind": "tfds", "name": plain, "version": folder.name, "files": listing_digest(walk(folder)), **options}
    return Source(shown, identity, lambda work=None: _read(plain, shown, folder, work, **options))


def _check_splits(folder: pathlib.Path, wanted: dict[str, str]) -> None:
    there = [split["name"] for split in json.loads((folder / "dataset_info.json").read_text())["splits"]]
    for argument, split in wanted.items():
        if missing := [part for part in re.split(r"\[[^]]*\]|\+|\s", split) if part and part not in there]:
            raise ValueError(
                f"{folder} has no split {missing[0]!r}, only {', '.join(there)}; choose with {argument}=, "
                f"for instance train_split='{there[0]}[:80%]', test_split='{there[0]}[80%:]'"
            )


class Split(NamedTuple):
    """One split in reading order."""

    images: np.ndarray
    labels: dict[str, np.ndarray]  # every class-label feature
    keys: np.ndarray  # str


def _read(
    name: str,
    shown: str,
    folder: pathlib.Path,
    work: Work | None,
    *,
    labels: str,
    train_split: str,
    test_split: str,
    image_size: int | None,
) -> Dataset:
    tfds = tensorflow_datasets()
    import tensorflow as tf

    builder = tfds.builder_from_directory(folder)
    features = builder.info.features
    class_features = sorted(k for k, f in features.items() if isinstance(f, tfds.features.ClassLabel))
    if "image" not in features or labels not in class_features:
        raise ValueError(
            f"{name} has class-label features {class_features} among {sorted(features)}; an image feature and the one "
            f"that labels= names ({labels!r}) are needed"
        )
    if features["image"].np_dtype != np.uint8:
        raise ValueError(f"images of {name} are {np.dtype(features['image'].np_dtype)}, and only uint8 is read")
    train = _read_split(builder, train_split, class_features, image_size, work)
    test = _read_split(builder, test_split, class_features, image_size, work)
    ids = canonical_ids(train.keys, f"{name} {train_split}", complete=train_split in builder.info.splits)
    test_ids = canonical_ids(test.keys, f"{name} {test_split}", complete=test_split in builder.info.splits)
    test_order = np.arange(len(test.keys)) if test_ids is None else np.argsort(test_ids)
    # human labels exist only for training images: the test split has -1 there, and its clean labels are in "label"
    test_feature = "label" if (test.labels[labels] == -1).all() else labels
    # a human label feature stores only the number of classes; the class names are at "label"
    named = "label" if "label" in features and features["label"].num_classes == features[labels].num_classes else labels
    check_human_labels(name, train_split, train.labels)
    counts = len(train.keys), len(test.keys)
    partial = name == "tiny_imagenet" and sum(counts) < TRAIN + TEST
    return assemble(
        shown,
        images=train.images,
        labels=train.labels[labels],
        ids=ids,
        keys=train.keys,
        extra_labels={k: v for k, v in train.labels.items() if k != labels},
        test_images=taken(test.images, test_order),
        test_labels=test.labels[test_feature][test_order],
        class_names=features[named].names,
        canonical=ids is not None and train_split == "train" and len(ids) == PUBLISHED_SIZE.get(name),
        provenance={
            "source": f"TFDS {builder.info.full_name}",
            "version": folder.name,
            "decoder": f"TensorFlow {tf.__version__}",
            "split": f"{train_split} / {test_split}",
            "labels": labels,
            "id": "the id feature" if ids is not None else "position in reading order",
            "partial": partial_warning(*counts) if partial else None,
            "image_size": image_size,
        },
    )


def canonical_ids(keys: np.ndarray, what: str, *, complete: bool) -> np.ndarray | None:
    """The numbers in keys such as `train_00042`; None for other keys. With `complete` they must be 0..n-1.

    Raises:
      ValueError: a number is repeated or missing.
    """
    matches = [ID.fullmatch(key) for key in keys]
    if not all(matches):
        return None
    ids = np.array([int(m[1]) for m in matches], np.int64)
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) < len(ids):
        raise ValueError(f"{what}: ids {unique[counts > 1][:5].tolist()} occur more than once")
    if complete and unique[-1] != len(ids) - 1:
        gaps = np.setdiff1d(np.arange(len(ids)), unique)[:5].tolist()
        raise ValueError(
            f"{what}: no example has id {gaps}, though there are {len(ids)} examples, the last {unique[-1]}"
        )
    return ids


def _read_split(builder: Any, split: str, labels: list[str], image_size: int | None, work: Work | None) -> Split:
    import tensorflow as tf

    tfds = tensorflow_datasets()
    key = "id" if "id" in builder.info.features else "tfds_id"
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False, add_tfds_id=key == "tfds_id")
    stream = builder.as_dataset(split=split, read_config=config)
    stream = stream.map(lambda example: {k: example[k] for k in ("image", key, *labels)})
    count = builder.info.splits[split].num_examples
    shape = builder.info.features["image"].shape
    if None in shape and image_size is None:
        raise ValueError(f"images of {builder.info.full_name} differ in size; {RESIZE}")
    resize = image_size is not None and shape[:2] != (image_size, image_size)
    shape = (count, image_size, image_size, shape[2]) if resize else (count, *shape)
    images = empty(shape, work and work.folder / f"{secrets.token_hex(8)}.npy")
    parts: list[Mapping[str, np.ndarray]] = []
    row = 0
    try:
        for batch in (stream.batch(1) if resize else stream.batch(512)).as_numpy_iterator():
            block = batch.pop("image")
            if row + len(block) <= count:
                images[row : row + len(block)] = _fit(block, image_size) if resize else block
            row += len(block)
            parts.append(batch)
            if work:
                work.report(row, count)
    except tf.errors.OpError as error:
        raise ValueError(f"{builder.data_path} is damaged, delete it and prepare it again: {error.message}") from error
    if row != count:
        raise ValueError(f"{builder.data_path} holds {row} examples of {split} instead of {count}: prepare it again")
    keys = np.concatenate([part[key] for part in parts])
    keys = np.array([k.decode() if isinstance(k, bytes) else str(k) for k in keys], np.str_)
    return Split(images, {k: np.concatenate([part[k] for part in parts]) for k in labels}, keys)


def _fit(block: np.ndarray, size: int) -> np.ndarray:
    from PIL import Image

    image = block[0, ..., 0] if block.shape[-1] == 1 else block[0]
    fitted = np.asarray(fit_square(Image.fromarray(image), size))
    return fitted.reshape(1, size, size, block.shape[-1])
