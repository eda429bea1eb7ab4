"""A data set from outside: a function without arguments that returns a `Dataset`."""

import numpy as np

from ddjax.data import Dataset, assemble


def bars() -> Dataset:
    """Horizontal and vertical bars on 8x8 grey pixels."""
    random = np.random.default_rng(0)

    def draw(count):
        labels = np.arange(count) % 2
        images = 0.1 * random.random((count, 8, 8, 1))
        for image, label, place in zip(images, labels, random.integers(0, 8, count), strict=True):
            image[(slice(None), place) if label else place] += 0.8
        return images, labels

    images, labels = draw(120)
    test_images, test_labels = draw(60)
    names = ["horizontal", "vertical"]
    return assemble(
        "bars", images=images, labels=labels, test_images=test_images, test_labels=test_labels, class_names=names
    )
