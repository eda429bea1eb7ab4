"""Distilled sets that other libraries released, read without those libraries and without running code from the file.

A released file holds images and labels. It does not say the preprocessing of its images, and some formats leave more
open: `FORMATS` lists what, and `read_released` asks for it.
"""

import pathlib
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import serialization

from ddjax.distilled import LABEL_KINDS, DistilledSet, check
from ddjax.names import choose, unknown
from ddjax.preprocess import Preprocess, apply
from ddjax.ranges import Count, Positive, settings
from ddjax.storage.arrays import read_npz
from ddjax.storage.pickles import guarded, read_torch

_WHAT, _HDF5 = "distilled set", b"\x89HDF"


@settings()
class Facts:
    """What a released file may not say. None is unknown.

    Attributes:
      space: the preprocessing of the images, a name in `preprocess.SPECS`.
      label_kind: a key of `distilled.LABEL_KINDS`.
      factor: each image is a mosaic of factor x factor cells.
      flip: students train on the images and their mirror images.
      step_size: the learned learning rate of a student.
    """

    space: str | None = None
    label_kind: Annotated[str, tuple(LABEL_KINDS)] | None = None
    factor: Count | None = None
    flip: bool | None = None
    step_size: Positive | None = None


class Released(NamedTuple):
    """The content of a released file, and all facts."""

    images: np.ndarray  # float32 [m h w c], as stored
    labels: np.ndarray
    facts: Facts
    pixels: bool  # images are on the 0..1 scale and not yet in `facts.space`


class Format(NamedTuple):
    """A format of released files.

    Attributes:
      read: the images, the labels and the step size (or None) of a file.
      protocol: by which the sets were published.
      spaces: the preprocessings that the images may be in; a single one is known without asking.
      known: facts that hold for every file of the format.
      asks: further facts that a user has to give.
      pixels: images are stored on the 0..1 scale, and students see them in the space.
    """

    read: Callable[[pathlib.Path], tuple[Any, Any, float | None]]
    protocol: str
    spaces: tuple[str, ...]
    known: dict[str, Any]
    asks: tuple[str, ...] = ()
    pixels: bool = False


def _pair(path: pathlib.Path) -> tuple[Any, Any, None]:
    images, labels = read_torch(path)
    return _channels_last(images), labels, None


def _separate(path: pathlib.Path) -> tuple[Any, Any, float | None]:
    if path.name.startswith("images_zca"):
        raise ValueError("images_zca files hold images mapped back to pixels; give the images file of the same run")
    if not path.name.startswith("images"):
        raise ValueError("its name must begin with 'images'; files of labels and of the step size lie beside it")
    labels, rate = (path.with_name(path.name.replace("images", part, 1)) for part in ("labels", "lr"))
    step_size = float(np.asarray(read_torch(rate)).reshape(())) if rate.exists() else None
    return _channels_last(read_torch(path)), read_torch(labels), step_size


def _flax(*group: str) -> Callable[[pathlib.Path], tuple[Any, Any, None]]:
    def read(path: pathlib.Path) -> tuple[Any, Any, None]:
        if path.suffix == ".npz":
            return _npz(path)
        found = serialization.msgpack_restore(path.read_bytes())
        for name in group:
            found = found[name]
        return found["x_proto"], found["y_proto"], None

    return read


def _npz(path: pathlib.Path) -> tuple[Any, Any, None]:
    with open(path, "rb") as file:
        if file.read(len(_HDF5)) == _HDF5:
            raise ValueError("it is HDF5, in which no method publishes its sets; save images and labels by numpy.savez")
    arrays = {f"{name.removesuffix('s')}s": array for name, array in read_npz(path).items()}  # FRePo: image, label
    if not {"images", "labels"} <= set(arrays):
        raise ValueError(f"it holds {', '.join(arrays) or 'nothing'}; an .npz needs arrays 'images' and 'labels'")
    return arrays["images"], arrays["labels"], None


_WHITENED = ("datm", "datm_plain")  # with and without ZCA
_MOSAIC = {"flip": False, "label_kind": "hard"}
FORMATS: dict[str, Format] = {
    "datm": Format(_separate, "datm", _WHITENED, {"factor": 1, "flip": False}, ("step_size",)),
    "mtt": Format(_separate, "datm", _WHITENED, {"factor": 1, "flip": False, "label_kind": "hard"}, ("step_size",)),
    "dance": Format(_pair, "dance", ("dance",), _MOSAIC, ("factor",), pixels=True),
    "ncfm": Format(_pair, "ncfm", ("dance",), _MOSAIC, ("factor",), pixels=True),
    "rcig": Format(_flax("ema_average"), "rcig", ("rcig",), {"factor": 1, "label_kind": "regression"}, ("flip",)),
    "frepo": Format(_flax("params"), "frepo", ("rcig",), {"factor": 1, "label_kind": "regression", "flip": False}),
    "npz": Format(_npz, "common", (), {}, ("factor", "flip")),
}
_WORDS = {
    "space": "the preprocessing of its images",
    "label_kind": "the kind of its labels",
    "factor": "how many cells a side of an image has (1 for plain images, 2 as published for 32 x 32)",
    "flip": "whether students also train on mirror images (published: yes, except for digits)",
    "step_size": "the learned step size",
}


def read_released(path: str | pathlib.Path, format: str, facts: Facts | None = None) -> Released:
    """Read a released set, and settle everything that the file does not say.

    Args:
      path: datm, mtt: the images file; files of labels and of the step size lie beside it (images_best.pt,
        labels_best.pt, lr_best.pt). dance, ncfm: the file of both. rcig: a flax checkpoint. frepo: a flax checkpoint,
        or the .npz. npz: arrays `images` [m h w c] and `labels`.
      format: a key of `FORMATS`.
      facts: what is known about the file.

    Returns:
      The arrays with all facts.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is damaged, a fact is missing, or a fact contradicts the file or the format.

    Example:
      >>> import tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "set.npz"
      >>> np.savez(path, images=np.zeros((2, 4, 4, 1), np.float32), labels=np.arange(2))
      >>> read_released(path, "npz", Facts(space="unit", factor=1, flip=False)).facts.label_kind
      'hard'
    """
    form, path = choose(FORMATS, format, "format"), pathlib.Path(path)
    if path.is_dir():
        raise ValueError(f"{_WHAT} {path} is a directory; give the file in it")
    images, labels, step_size = guarded(path, _WHAT, form.read)
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim != 4 or images.dtype.kind != "f" or images.shape[3] not in (1, 3):
        raise ValueError(
            f"{_WHAT} {path}: images must be floats [m h w c] of 1 or 3 channels; got {images.dtype}"
            f"{list(images.shape)}: the file is of another format, or its axes have another order"
        )
    known = dict(form.known) | ({} if step_size is None else {"step_size": step_size})
    if len(form.spaces) == 1:
        known["space"] = form.spaces[0]
    kind = known.get("label_kind", "hard" if labels.ndim == 1 else "logits" if format == "datm" else None)
    known |= {} if kind is None else {"label_kind": kind}
    settled = _settled(path, format, form, facts or Facts(), known)
    _check(path, images, labels, settled, form.pixels)
    return Released(images.astype(np.float32), labels, settled, form.pixels)


def to_set(released: Released, transform: Preprocess, num_classes: int) -> DistilledSet:
    """The set as ddjax's methods make it, ready for `evaluate`.

    Args:
      released: from `read_released`.
      transform: the preprocessing `released.facts.space`, fitted on the training images.
      num_classes: of the data set.

    Returns:
      The set.

    Raises:
      ValueError: the transform is another one, or images and labels do not fit it or the number of classes.
    """
    facts = released.facts
    if transform.name != facts.space:
        raise ValueError(f"transform must be {facts.space!r}, the space of the images; got {transform.name!r}")
    images = jnp.asarray(released.images)
    return check(
        DistilledSet(
            images=apply(transform, images) if released.pixels else images,
            labels=jnp.asarray(released.labels, jnp.int32 if facts.label_kind == "hard" else jnp.float32),
            step_size=None if facts.step_size is None else jnp.float32(facts.step_size),
            preprocess=transform,
            num_classes=num_classes,
            label_kind=facts.label_kind or "hard",
            space=transform.fingerprint,
            factor=facts.factor or 1,
            flip=bool(facts.flip),
        )
    )


def _settled(path: pathlib.Path, name: str, form: Format, facts: Facts, known: dict[str, Any]) -> Facts:
    """All facts; an error names every missing one at once, and one that contradicts the file or the format."""
    told = {key: value for key, value in vars(facts).items() if value is not None}
    for key, value in told.items():
        if key in known and known[key] != value:
            raise ValueError(f"{key}={value!r} contradicts {path}: {key} is {known[key]!r} there, by format {name!r}")
    if form.spaces and told.get("space") not in (None, *form.spaces):
        raise unknown(f"space of format {name!r}", told["space"], form.spaces)
    settled = {**told, **known}
    if missing := [key for key in ("space", "label_kind", *form.asks) if key not in settled]:
        values = {"space": form.spaces, "label_kind": tuple(LABEL_KINDS)}
        named = {key: f": {' or '.join(of)}" for key, of in values.items() if of}
        lines = [f"{key}= ({_WORDS[key]}{named.get(key, '')})" for key in missing]
        raise ValueError(f"{path} of format {name!r} does not say everything. Give {', '.join(lines)}")
    return Facts(**settled)


def _check(path: pathlib.Path, images: np.ndarray, labels: np.ndarray, facts: Facts, pixels: bool) -> None:
    hard = facts.label_kind == "hard"
    if labels.ndim != (1 if hard else 2) or len(labels) != len(images) or (labels.dtype.kind not in "iu") == hard:
        raise ValueError(
            f"{_WHAT} {path}: labels of kind {facts.label_kind!r} are {'integers [m]' if hard else 'floats [m k]'} for "
            f"the {len(images)} images; got {labels.dtype}{list(labels.shape)}"
        )
    if pixels and images.size and not (images.min() > -0.5 and images.max() < 1.5):
        raise ValueError(
            f"{_WHAT} {path}: images of this format are pixels in 0..1; these lie in {images.min():.2f}.."
            f"{images.max():.2f}: if they are normalised, save them as .npz and give format='npz', space='dance'"
        )
    if facts.factor and any(side % facts.factor for side in images.shape[1:3]):
        raise ValueError(f"factor={facts.factor} must divide the sides {list(images.shape[1:3])} of the images")


def _channels_last(images: Any) -> np.ndarray:
    images = np.asarray(images)
    return images.transpose(0, 2, 3, 1) if images.ndim == 4 else images
