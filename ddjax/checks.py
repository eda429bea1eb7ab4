"""Checks of the arguments of public functions: images, labels, keys, data sets. They run before any compilation.

Each function raises a ValueError that names the argument, the value and the remedy. Numbers are checked by
`ddjax.ranges`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddjax.names import briefly
from ddjax.rows import Images
from ddjax.trees import is_key
from ddjax.types import PIXELS, Audit, TestSet, TrainSet


def kind(value: Any, wanted: type, argument: str, hint: str) -> None:
    """Check that the argument is a `wanted`."""
    if not isinstance(value, wanted):
        raise ValueError(f"{argument} must be a {wanted.__name__}; got {_briefly(value)}. {hint}")


def keys(value: Any, argument: str) -> None:
    """Check that the argument is a vector of typed keys."""
    if not _is_key(value) or value.ndim != 1 or not len(value):
        raise ValueError(
            f"{argument} must be typed keys of shape [s], one for each network; got {_briefly(value)}: "
            "jax.random.split(jax.random.key(0), 5), for example"
        )


def key(value: Any, argument: str) -> None:
    """Check that the value is one typed key."""
    if not _is_key(value) or value.ndim:
        raise ValueError(f"{argument} must be one typed key, such as jax.random.key(0); got {_briefly(value)}")


@jax.jit  # one program for each shape, not one for each operation
def _finite_rows(array: Any) -> jax.Array:
    return jnp.isfinite(array).reshape(len(array), -1).all(axis=1)


def finite(array: Any, argument: str) -> None:
    """Check that there is no NaN and no infinity."""
    if isinstance(array, Images) or not jnp.issubdtype(array.dtype, jnp.inexact):  # bytes are finite
        return
    bad = np.flatnonzero(~np.asarray(_finite_rows(array)))
    if len(bad):
        raise ValueError(
            f"{argument} holds NaN or infinity in {len(bad)} of {len(array)} rows, the first at row {bad[0]}: "
            "correct these rows or leave them out"
        )


def images(array: Any, argument: str, space: str | None = None) -> None:
    """Check for images [n h w c], at least one: uint8 in the space of pixels, finite floats in any other space."""
    if getattr(array, "ndim", None) != 4 or not all(array.shape):
        raise ValueError(f"{argument} must be images of shape [n h w c], none of them 0; got {_briefly(array)}")
    if space == PIXELS and array.dtype != np.uint8:
        raise ValueError(
            f"{argument} has the space {PIXELS!r} and must be uint8; got {_briefly(array)}: name the space of the "
            "images, or pass bytes"
        )
    if space not in (None, PIXELS) and not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{argument} in the space {space!r} must be floats; got {_briefly(array)}: see ddjax.to_space")
    finite(array, argument)


def labels(array: Any, argument: str, count: int, classes: int) -> None:
    """Check that there is one class number for each image."""
    if getattr(array, "shape", None) != (count,) or not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(f"{argument} must be {count} class numbers, one for each image; got {_briefly(array)}")
    host = np.asarray(array)
    if host.min() < 0 or host.max() >= classes:
        row = np.flatnonzero((host < 0) | (host >= classes))[0]
        raise ValueError(f"{argument} must lie in 0..{classes - 1} for {classes} classes; got {host[row]} at row {row}")


def train_set(train: Any) -> None:
    """Check that `train` is a consistent training set."""
    kind(train, TrainSet, "train", "ddjax.prepare makes one: its `train`")
    images(train.images, "train.images", train.space)
    labels(train.labels, "train.labels", len(train.images), train.num_classes)
    if getattr(train.ids, "shape", None) != (len(train.images),):
        raise ValueError(f"train.ids must name each of {len(train.images)} images; got {_briefly(train.ids)}")


def learnable(train: Any) -> None:
    """Check that `train` is a training set that networks can be trained on."""
    train_set(train)
    if train.space == PIXELS:
        raise ValueError(
            "train must be in the space of a preprocessing; got raw pixels. Convert it first, with ddjax.to_space or "
            "preprocess.apply"
        )


def test_set(test: Any) -> None:
    """Check that `test` is a consistent test set."""
    kind(test, TestSet, "test", "ddjax.prepare makes one: its `test`")
    images(test.images, "test.images", test.space)
    labels(test.labels, "test.labels", len(test.images), test.num_classes)


def audit(value: Any, train: TrainSet | None) -> None:
    """Check that `value` has the clean labels of exactly the examples of `train`, or is None."""
    if value is None:
        return
    kind(value, Audit, "audit", "ddjax.prepare makes one: its `audit`")
    if train is None:
        raise ValueError("audit holds the clean labels of train: pass train= with it, or leave it out")
    if not np.array_equal(np.asarray(train.ids), np.asarray(value.ids)):
        raise ValueError("audit.ids are not train.ids: both must name the same examples in the same order")
    same_classes(train=train.num_classes, audit=value.num_classes)
    labels(value.labels, "audit.labels", len(train.ids), value.num_classes)


def same_classes(**counts: int) -> None:
    """Check that all parts have the same number of classes."""
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise ValueError(f"numbers of classes differ: {listed}; use parts of one data set")


def _is_key(value: Any) -> bool:
    return hasattr(value, "dtype") and is_key(value)


def _briefly(value: Any) -> str:
    """A value in a message, with its type."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype}{list(value.shape)}"
    return f"{type(value).__name__} {briefly(value)}"
