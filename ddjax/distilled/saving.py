"""A DistilledSet on disk: a compressed .npz without pickle, and a JSON manifest with its SHA-256 and its provenance."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from ddjax.distilled import DistilledSet, check
from ddjax.preprocess import Preprocess, from_arrays, save_arrays
from ddjax.storage import manifest
from ddjax.storage.rows import versions

KIND = manifest.Kind("ddjax-distilled-set", 2, "a distilled set", unsealed=(1,))
STATIC = ("num_classes", "label_kind", "space", "factor", "formation", "flip")
_PREFIX = "preprocess."


def save_distilled(distilled: DistilledSet, path: str | pathlib.Path, *, embed: bool = True) -> pathlib.Path:
    """Save a distilled set as `path`.npz and `path`.json.

    Args:
      distilled: the set.
      path: with or without suffix.
      embed: whether the arrays of the preprocessing are saved too. A ZCA of 32 x 32 x 3 images takes 70 MB. Without
        them, `load_distilled` needs the same preprocessing as an argument. Its fingerprint is saved either way.

    Returns:
      The path of the .npz.

    Raises:
      ValueError: a field of the set is wrong; see `distilled.check`.
      OSError: a file could not be written.

    Example:
      >>> import tempfile
      >>> distilled = DistilledSet(images=jnp.zeros((2, 4, 4, 1)), labels=jnp.arange(2), num_classes=2, space="unit")
      >>> path = save_distilled(distilled, tempfile.mkdtemp() + "/set")
      >>> load_distilled(path).images.shape
      (2, 4, 4, 1)
    """
    check(distilled)
    arrays: dict[str, Any] = {"images": distilled.images, "labels": distilled.labels}
    if distilled.step_size is not None:
        arrays["step_size"] = distilled.step_size
    fields: dict[str, Any] = {name: getattr(distilled, name) for name in STATIC} | {"preprocess": None}
    if distilled.preprocess is not None and embed:
        inner, fields["preprocess"] = save_arrays(distilled.preprocess)
        arrays |= {_PREFIX + name: array for name, array in inner.items()}
    fields |= {"provenance": json.loads(distilled.provenance), "versions": versions()}
    return manifest.save(_stem(path), KIND, arrays, fields, compress=True)


def load_distilled(
    path: str | pathlib.Path, preprocess: Preprocess | None = None, *, class_names: Sequence[str] | None = None
) -> DistilledSet:
    """Read a distilled set that `save_distilled` wrote.

    Args:
      path: with or without suffix.
      preprocess: the transform that the set was made in, if it was saved with `embed=False`.
      class_names: of the data that the set will be used with. The set must have the same names in the same order.

    Returns:
      The set.

    Raises:
      ValueError: a file is missing or damaged, the classes differ, or `preprocess` is not the transform of the set.

    Example:
      See `save_distilled`.
    """
    stem = _stem(path)
    arrays, meta = manifest.load(stem, KIND, (*STATIC, "preprocess", "provenance"))
    npz, side = manifest.paths(stem)
    if missing := {"images", "labels"} - set(arrays):
        raise ValueError(f"{npz} lacks {', '.join(sorted(missing))}: it is not a distilled set")
    provenance = meta["provenance"]
    if class_names is not None:
        _check_order(list(class_names), provenance.get("class_names"), side)
    inner = {name.removeprefix(_PREFIX): array for name, array in arrays.items() if name.startswith(_PREFIX)}
    if meta["preprocess"] is not None:
        preprocess = from_arrays(inner, meta["preprocess"])
    return check(
        DistilledSet(
            images=jnp.asarray(arrays["images"]),
            labels=jnp.asarray(arrays["labels"]),
            step_size=jnp.asarray(arrays["step_size"]) if "step_size" in arrays else None,
            preprocess=preprocess,
            provenance=json.dumps(provenance),
            **{name: meta[name] for name in STATIC},
        )
    )


def _check_order(expected: list[str], saved: list[str] | None, side: pathlib.Path) -> None:
    if saved is None:
        raise ValueError(
            f"{side} does not record the names of its classes, so their order cannot be compared: load it without "
            "class_names if you know that the order is the same"
        )
    if len(expected) != len(saved):
        raise ValueError(
            f"{side} has {len(saved)} classes, but class_names has {len(expected)}: the set was made from other data"
        )
    for number, (mine, theirs) in enumerate(zip(expected, saved, strict=True)):
        if mine != theirs:
            raise ValueError(
                f"{side} was made with another order of classes: number {number} is {theirs!r} there and {mine!r} in "
                "class_names; renumber the labels of your data, or use the set made from your data"
            )


def _stem(path: str | pathlib.Path) -> pathlib.Path:
    path = pathlib.Path(path)
    return path.with_suffix("") if path.suffix in (".npz", ".json") else path
