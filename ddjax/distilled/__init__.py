"""The distilled set: a few images with labels, and everything that is needed to train on them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddjax import ranges
from ddjax.distilled import decode
from ddjax.names import briefly, check_known
from ddjax.preprocess import Preprocess, invert, one_hot
from ddjax.trees import record

LABEL_KINDS = {
    "hard": "int32 [m], a class each",
    "logits": "float32 [m k], softmax gives the targets (DATM)",
    "probabilities": "float32 [m k], rows sum to one",
    "regression": "float32 [m k], targets of a squared error, any scale (RCIG)",
}


@record(static=("num_classes", "label_kind", "space", "factor", "formation", "flip", "provenance"))
class DistilledSet:
    """Images in the space `space`, with labels. Images are sorted by class if the method assigns them to classes.

    `preprocess` is the transform to that space and its inverse. It is None during distillation, so that a state does
    not contain a ZCA matrix. `provenance` is JSON text: method, config, data, noise, versions.
    """

    images: Any  # float32 [m h w c]
    labels: Any  # see LABEL_KINDS
    step_size: Any = None  # float32 []: the learned learning rate of a student, if the method learns one
    preprocess: Preprocess | None = None
    num_classes: int
    label_kind: str = "hard"
    space: str
    factor: int = 1  # each image is a mosaic of factor x factor cells
    formation: str = "single"
    flip: bool = False  # students train on the images and their mirror images
    provenance: str = "{}"


def check(distilled: DistilledSet) -> DistilledSet:
    """Check the fields of a set, and return it.

    Raises:
      ValueError: a field is wrong; the message names it.
    """
    images, labels, kind = distilled.images, distilled.labels, distilled.label_kind
    check_known("label_kind", kind, LABEL_KINDS)
    check_known("formation", distilled.formation, decode.FORMATIONS)
    ranges.check(distilled.factor, ranges.Count, "factor")
    if np.ndim(distilled.step_size if distilled.step_size is not None else 0):
        raise ValueError(f"step_size must be a scalar; got {briefly(distilled.step_size)}")
    if images.ndim != 4 or not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be floats of shape [m h w c]; got {images.dtype}{list(images.shape)}")
    shape = (len(images),) if kind == "hard" else (len(images), distilled.num_classes)
    if getattr(labels, "shape", None) != shape:
        raise ValueError(f"labels of kind {kind!r} must have shape {list(shape)}; got {briefly(labels)}")
    if kind == "hard" and not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"hard labels must be integers; got {labels.dtype}: name another label_kind for soft ones")
    for name, array in [("images", images), ("labels", labels), ("step_size", distilled.step_size)]:
        if array is not None and not np.isfinite(np.asarray(array)).all():
            raise ValueError(f"{name} contain NaN or infinite values: the run that made them diverged")
    if kind == "hard" and len(images) and not (int(labels.min()) >= 0 and int(labels.max()) < distilled.num_classes):
        raise ValueError(f"hard labels must lie in 0..{distilled.num_classes - 1}; got {labels.min()}..{labels.max()}")
    if distilled.preprocess is not None and distilled.preprocess.fingerprint != distilled.space:
        raise ValueError(
            f"space is {distilled.space!r} but preprocess makes {distilled.preprocess.fingerprint!r}: "
            "pass the transform of these images"
        )
    return distilled


def _decoded(distilled: DistilledSet) -> DistilledSet:
    if distilled.factor == 1:
        return distilled
    classes = np.asarray(distilled.labels if distilled.label_kind == "hard" else jnp.argmax(distilled.labels, 1))
    images, labels = [], []
    for label in range(distilled.num_classes):
        rows = np.flatnonzero(classes == label)
        if len(rows):
            images.append(decode.decode(distilled.images[rows], distilled.factor, distilled.formation))
            labels.append(
                distilled.labels[rows][np.array(decode.sources(len(rows), distilled.factor, distilled.formation))]
            )
    return dataclasses.replace(distilled, images=jnp.concatenate(images), labels=jnp.concatenate(labels), factor=1)


def expand(distilled: DistilledSet) -> DistilledSet:
    """The training set of a student: mosaics are decoded by class, and mirror images are added if `flip`.

    Args:
      distilled: the set.

    Returns:
      A set with factor 1 and without `flip`.

    Example:
      >>> small = DistilledSet(
      ...     images=jnp.zeros((2, 4, 4, 1)), labels=jnp.arange(2), num_classes=2, space="unit", factor=2, flip=True
      ... )
      >>> expand(small).images.shape
      (16, 4, 4, 1)
    """
    plain = _decoded(distilled)
    if not plain.flip:
        return plain
    return dataclasses.replace(
        plain,
        images=jnp.concatenate([plain.images, plain.images[:, :, ::-1]]),
        labels=jnp.concatenate([plain.labels, plain.labels]),
        flip=False,
    )


def pixels(distilled: DistilledSet) -> Float[Array, "m h w c"]:
    """The images on the 0..1 pixel scale, not clipped, by the inverse of the preprocessing.

    Raises:
      ValueError: the set has no preprocessing.
    """
    if distilled.preprocess is None:
        raise ValueError(
            f"this set is in the space {distilled.space!r} and has no preprocess to invert: attach it first"
        )
    return invert(distilled.preprocess, distilled.images)


def targets(distilled: DistilledSet) -> Float[Array, "m k"]:
    """The labels as targets of a loss: one-hot, softmax of logits, or the learned values."""
    if distilled.label_kind == "hard":
        return one_hot(distilled.labels, distilled.num_classes)
    return jax.nn.softmax(distilled.labels) if distilled.label_kind == "logits" else distilled.labels
