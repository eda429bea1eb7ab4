"""The 8 x 8 digits of scikit-learn, a real data set without a download."""

import numpy as np

from ddjax.data.dataset import Dataset
from ddjax.data.validate import TEST_FRACTION, assemble


def digits() -> Dataset:
    """Load 1797 grey images [8 8 1] of ten digits. The last fifth of each class, in published order, is the test set.

    The published grey levels 0..16 become 0..255. The id of an example is its row in the published array, so the ids of
    the 1442 training examples have gaps at the test examples.
    Reference: UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998), test part.
    """
    import sklearn
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    is_test = np.zeros(len(images), bool)
    for c in range(10):
        rows = np.flatnonzero(bunch.target == c)
        is_test[rows[len(rows) - int(TEST_FRACTION * len(rows)) :]] = True
    return assemble(
        "digits",
        images=images[~is_test],
        labels=bunch.target[~is_test],
        ids=np.flatnonzero(~is_test),
        keys=[f"row_{i}" for i in np.flatnonzero(~is_test)],
        test_images=images[is_test],
        test_labels=bunch.target[is_test],
        class_names=[str(c) for c in range(10)],
        canonical=True,
        provenance={
            "source": "scikit-learn load_digits",
            "version": sklearn.__version__,
            "decoder": "none: arrays",
            "split": "last fifth of each class",
        },
    )
