"""Tiny-ImageNet as a TFDS builder, for pipelines with `tfds.load("tiny_imagenet")`.

Importing this file registers the builder. It reads the published folder or zip in the manual directory and downloads
nothing.
"""

import io
import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from ddjax.data.tiny_imagenet import Listing, find, listing, partial_warning


class TinyImagenet(tfds.core.GeneratorBasedBuilder):
    """200 classes by sorted wnid; `test` is the published validation set.

    The key of an example is its canonical index, as in CIFAR. Its `id` ("train_%06d") therefore does not depend on the
    reading order, and TFDS writes the examples in its order for running integers. JPEG bytes are unchanged.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "ids are positions in the listing sorted by wnid and file name"}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = "the published folder tiny-imagenet-200/, or tiny-imagenet-200.zip"

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Tiny-ImageNet, 64 x 64, 200 classes numbered by sorted wnid.",
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(64, 64, 3), encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(num_classes=200),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        place, _ = find(pathlib.Path(dl_manager.manual_dir))
        published = listing(place)
        self.info.features["label"].names = published.wnids
        if not published.complete:
            warnings.warn(partial_warning(len(published.train), len(published.test)), stacklevel=2)
        return {
            "train": self._generate_examples(published, "train", published.train),
            "test": self._generate_examples(published, "test", published.test),
        }

    def _generate_examples(
        self, published: Listing, split: str, files: list[tuple[str, int]]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, (name, label) in enumerate(files):
            image = io.BytesIO(published.read(name))
            yield index, {"id": f"{split}_{index:06d}", "image": image, "label": label}
