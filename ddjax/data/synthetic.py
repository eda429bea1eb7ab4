"""Small synthetic image sets for tests and notebooks."""

from typing import Annotated

import numpy as np

from ddjax.data.dataset import Dataset
from ddjax.data.validate import assemble
from ddjax.ranges import Count, NonNegative, Range, Seed, checked

CELLS = 4  # a glyph is a pattern of CELLS x CELLS light and dark cells, enlarged to the image


def _glyphs(count: int, channels: int, random: np.random.Generator) -> np.ndarray:
    """[k CELLS CELLS c] in {0, 1}. Each glyph is the candidate, of 64, that differs most from the previous ones."""
    glyphs = np.empty((count, CELLS, CELLS, channels), np.uint8)
    for c in range(count):
        candidates = random.integers(0, 2, (64, *glyphs.shape[1:]), np.uint8)
        distances = (candidates[:, None] != glyphs[None, :c]).sum((2, 3, 4))
        glyphs[c] = candidates[distances.min(1).argmax() if c else 0]
    return glyphs


@checked
def synthetic(
    num_classes: Annotated[int, Range(2)] = 3,
    per_class: Count = 20,
    image_shape: tuple[Count, Count, Count] = (8, 8, 1),
    seed: Seed = 0,
    *,
    test_per_class: Count = 20,
    noise: NonNegative = 0.1,
) -> Dataset:
    """Draw a data set with one glyph per class, shifted by up to a pixel, with random contrast, brightness and noise.

    A small ConvNet reaches a test accuracy above 95 %.

    Args:
      num_classes: number of classes.
      per_class: training examples of each class; the rows are in random order.
      image_shape: height, width (4 or more each) and channels (1 or 3).
      seed: determines the whole set. The training set does not depend on `test_per_class`.
      test_per_class: test examples of each class.
      noise: standard deviation of the pixel noise, where white is 1.

    Returns:
      The data set.

    Raises:
      ValueError: an argument is out of range.

    Example:
      >>> synthetic(3, 20).images.shape
      (60, 8, 8, 1)
    """
    height, width, channels = image_shape
    if min(height, width) < CELLS or channels not in (1, 3):
        raise ValueError(f"image_shape must be {CELLS} x {CELLS} pixels or more and 1 or 3 channels; got {image_shape}")
    glyphs = _glyphs(num_classes, channels, np.random.default_rng([seed, 0]))
    rows, columns = np.arange(height) * CELLS // height, np.arange(width) * CELLS // width
    big = glyphs[:, rows][:, :, columns].astype(np.float32)

    def draw(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        labels = random.permutation(np.repeat(np.arange(num_classes, dtype=np.int32), count))
        shifts = random.integers(-1, 2, (len(labels), 2))
        images = np.stack([np.roll(big[c], shift, (0, 1)) for c, shift in zip(labels, shifts, strict=True)])
        contrast = random.uniform(0.4, 0.8, (len(labels), 1, 1, 1))
        brightness = random.uniform(0.1, 0.2, (len(labels), 1, 1, 1))
        images = brightness + contrast * images + noise * random.standard_normal(images.shape)
        return np.rint(255 * images.clip(0, 1)).astype(np.uint8), labels

    images, labels = draw(per_class, np.random.default_rng([seed, 1]))
    test_images, test_labels = draw(test_per_class, np.random.default_rng([seed, 2]))
    return assemble(
        "synthetic",
        images=images,
        labels=labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=[f"glyph {c}" for c in range(num_classes)],
        canonical=True,
        provenance={"source": "synthetic glyphs", "seed": seed, "noise": noise, "decoder": "none: arrays"},
    )
