"""One function that applies label noise of any kind and records the result."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32

from ddjax import names
from ddjax.noise.labels import as_ids, as_labels, checksum
from ddjax.noise.spec import NoiseSpec, Truth, draw, drawing_order


class Noisy(NamedTuple):
    """Given labels in the order of the clean labels, and a record of the noise as JSON."""

    labels: Int32[np.ndarray, "n"]
    record: dict[str, Any]


def apply(
    spec: NoiseSpec,
    labels: Any,
    ids: Any,
    num_classes: int,
    dataset: str | None = None,
    *,
    images: Any = None,
    probabilities: Any = None,
    others: Mapping[str, Any] | None = None,
) -> Noisy:
    """Draw given labels for clean labels.

    "numpy_legacy" draws by ascending id (or by `spec.order`), regardless of the order of the arguments. Pass the
    complete canonical set, and take subsets of the result. Only a long-tailed subset is chosen before, by clean label.

    Args:
      spec: the noise.
      labels: clean labels [n] or [n, 1]; coarse labels for noisy100_coarse.
      ids: canonical indices [n].
      num_classes: k.
      dataset: its name, for kinds that are defined per data set.
      images: [n h w c] for part_dependent; uint8 is divided by 255, and floats are unchanged.
      probabilities: predictions [n k] of a teacher, for pmd.
      others: label vectors [n] that come with the data set, by name. A human kind without a `labels_file` takes its
        labels from here, under its name or the published key.

    Returns:
      The given labels, and a record of the noise.

    Raises:
      ValueError: an argument is missing, or does not fit the kind.

    Example:
      >>> noisy = apply(NoiseSpec("symmetric", rate=0.5), np.arange(100) % 4, np.arange(100), 4)
      >>> noisy.record["kind"], noisy.record["n"]
      ('symmetric', 100)
    """
    clean = as_labels(labels, num_classes)
    ids = as_ids(ids, len(clean))
    ascending = np.argsort(ids, kind="stable")
    sorted_already = np.array_equal(ascending, np.arange(len(ids)))

    def sort(array: Any, what: str) -> Any:
        array = None if array is None else np.asarray(array)
        if array is not None and array.shape[:1] != clean.shape:
            raise ValueError(f"{what} must have an entry for each of {len(clean)} labels; got {names.briefly(array)}")
        return array if array is None or sorted_already else array[ascending]

    others = {name: sort(vector, f"others[{name!r}]") for name, vector in (others or {}).items()}
    images, probabilities = sort(images, "images"), sort(probabilities, "probabilities")
    truth = Truth(clean[ascending], ids[ascending], num_classes, dataset, images, probabilities, others)
    drawn, facts = draw(spec, truth)
    given = np.empty_like(clean)
    given[ascending] = drawn
    flips = int(np.sum(given != clean))
    return Noisy(
        given,
        {
            "kind": spec.kind,
            "rate": float(spec.rate),
            "effective_rate": flips / max(len(clean), 1),
            "n": len(clean),
            "flips": flips,
            "checksum": checksum(drawn, num_classes),  # by ascending id
            "checksum_in_order": checksum(drawn[drawing_order(spec, truth)], num_classes),  # in the order of drawing
            "sampler": None,
            "seed": None,
            "order": spec.order,
            "clean_counts": np.bincount(clean, minlength=num_classes).tolist(),
            "given_counts": np.bincount(given, minlength=num_classes).tolist(),
            **facts,
        },
    )
