"""A DistilledSet on disk: one compressed .npz without pickle, and a JSON side that vouches for it."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ddjax.distilled import DistilledSet, check
from ddjax.preprocess import Preprocess, from_arrays, save_arrays
from ddjax.storage.files import read_npz, replacing, sha256
from ddjax.storage.rows import versions

FORMAT = "ddjax-distilled-set"
SCHEMA = 1
STATIC = ("num_classes", "label_kind", "space", "factor", "formation", "flip")
_PREFIX = "preprocess."


def save_distilled(distilled: DistilledSet, path: str | pathlib.Path, *, embed: bool = True) -> pathlib.Path:
    """Write `path`.npz and `path`.json; returns the .npz.

    With `embed=False` the preprocessing's arrays stay out (a ZCA of 32 x 32 x 3 images weighs 70 MB) and
    `load_distilled` must be handed the same one; its fingerprint is recorded either way.
    """
    check(distilled)
    npz, side = _paths(path)
    arrays = {"images": distilled.images, "labels": distilled.labels}
    if distilled.step_size is not None:
        arrays["step_size"] = distilled.step_size
    meta: dict[str, Any] = {"format": FORMAT, "schema": SCHEMA, **{name: getattr(distilled, name) for name in STATIC}}
    meta["preprocess"] = None
    if distilled.preprocess is not None and embed:
        inner, meta["preprocess"] = save_arrays(distilled.preprocess)
        arrays |= {_PREFIX + name: array for name, array in inner.items()}
    host = {name: np.asarray(array) for name, array in arrays.items()}
    with replacing(npz) as file:
        np.savez_compressed(file, **host)
    meta["provenance"] = json.loads(distilled.provenance)
    meta["versions"] = versions()
    meta["arrays"] = {name: [array.dtype.str, list(array.shape)] for name, array in host.items()}
    meta["sha256"] = sha256(npz)
    with replacing(side, "w") as file:
        json.dump(meta, file, indent=1)
    return npz


def load_distilled(
    path: str | pathlib.Path, preprocess: Preprocess | None = None, *, class_names: Sequence[str] | None = None
) -> DistilledSet:
    """The set saved at `path`; anything wrong with the files is said exactly, and nothing damaged comes back.

    Args:
      path: with or without suffix.
      preprocess: the one that the set was made in, where it was saved with `embed=False`.
      class_names: of the data that the set is to be used with; an order other than the one it was made in is refused.
    """
    npz, side = _paths(path)
    for file in (npz, side):
        if not file.exists():
            raise ValueError(f"{file} is missing: a distilled set is two files, {npz.name} and {side.name}")
    meta = _read_side(side)
    if (found := sha256(npz)) != meta["sha256"]:
        raise ValueError(
            f"{npz} is damaged or was replaced: its SHA-256 is {found[:16]}..., {side.name} records "
            f"{str(meta['sha256'])[:16]}...; take both files from the same save"
        )
    arrays = read_npz(npz)
    listed = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
    if listed != meta["arrays"]:
        raise ValueError(f"{npz} holds {listed}, but {side.name} lists {meta['arrays']}")
    provenance = meta["provenance"]
    if class_names is not None:
        _same_order(list(class_names), provenance.get("class_names"), side)
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


def _same_order(wanted: list[str], found: list[str] | None, side: pathlib.Path) -> None:
    if found is None:
        raise ValueError(
            f"{side} does not say what its classes are called, so their order cannot be compared: load it without "
            "class_names if you know that it is the same"
        )
    if len(wanted) != len(found):
        raise ValueError(f"{side} has {len(found)} classes, but class_names are {len(wanted)}: it is of other data")
    for number, (mine, theirs) in enumerate(zip(wanted, found, strict=True)):
        if mine != theirs:
            raise ValueError(
                f"{side} was made with another order of classes: number {number} is {theirs!r} there and {mine!r} in "
                "class_names; renumber the labels of your data, or take the set made from it"
            )


def _paths(path: str | pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    path = pathlib.Path(path)
    stem = path.with_suffix("") if path.suffix in (".npz", ".json") else path
    return stem.with_name(stem.name + ".npz"), stem.with_name(stem.name + ".json")


def _read_side(side: pathlib.Path) -> dict[str, Any]:
    try:
        meta = json.loads(side.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{side} is not JSON: {error}") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ValueError(f"{side} does not describe a distilled set: its 'format' is not {FORMAT!r}")
    if meta.get("schema") != SCHEMA:
        raise ValueError(
            f"{side} has schema {meta.get('schema')!r}; this version reads {SCHEMA}: use the ddjax that wrote it"
        )
    missing = [k for k in (*STATIC, "preprocess", "provenance", "arrays", "sha256") if k not in meta]
    if missing or not {"images", "labels"} <= set(meta["arrays"]):
        raise ValueError(f"{side} lacks {missing or 'images or labels in its list of arrays'}")
    return meta
