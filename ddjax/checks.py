"""What comes in at the public doors: one clear error for each way it can be wrong, before anything is compiled."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddjax.ranges import number as number
from ddjax.ranges import whole as whole
from ddjax.types import PIXELS, Audit, TestSet, TrainSet

SAFE_KEYS = jax.dtypes.prng_key


def kind(value: Any, wanted: type, argument: str, hint: str) -> None:
    """The argument is a `wanted`."""
    if not isinstance(value, wanted):
        raise ValueError(f"{argument} must be a {wanted.__name__}; got {_briefly(value)}. {hint}")


def keys(value: Any, argument: str) -> None:
    """Typed keys in a row."""
    if not (hasattr(value, "dtype") and jnp.issubdtype(value.dtype, SAFE_KEYS)) or value.ndim != 1 or not len(value):
        raise ValueError(
            f"{argument} must be typed keys of shape [s], one for each network; got {_briefly(value)}: "
            "jax.random.split(jax.random.key(0), 5), say"
        )


def key(value: Any, argument: str) -> None:
    """Check that the value is one typed key."""
    if not (hasattr(value, "dtype") and jnp.issubdtype(value.dtype, SAFE_KEYS)) or value.ndim:
        raise ValueError(f"{argument} must be one typed key, such as jax.random.key(0); got {_briefly(value)}")


def finite(array: Any, argument: str) -> None:
    """No NaN, no infinity."""
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        return
    bad = np.flatnonzero(~np.asarray(jnp.isfinite(array).reshape(len(array), -1).all(axis=1)))
    if len(bad):
        raise ValueError(
            f"{argument} holds NaN or infinity in {len(bad)} of {len(array)} rows, the first at row {bad[0]}: "
            "mend or leave out those"
        )


def images(array: Any, argument: str, space: str | None = None) -> None:
    """Images [n h w c], at least one: bytes in the space of pixels, finite floats in any other."""
    if getattr(array, "ndim", None) != 4 or not all(array.shape):
        raise ValueError(f"{argument} must be images of shape [n h w c], none of them 0; got {_briefly(array)}")
    if space == PIXELS and array.dtype != np.uint8:
        raise ValueError(
            f"{argument} is said to be in the space {PIXELS!r} and must be uint8; got {_briefly(array)}: name the "
            "space that the images are in, or hand in bytes"
        )
    if space not in (None, PIXELS) and not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{argument} in the space {space!r} must be floats; got {_briefly(array)}: see ddjax.to_space")
    finite(array, argument)


def labels(array: Any, argument: str, count: int, classes: int) -> None:
    """One class number for each image."""
    if getattr(array, "shape", None) != (count,) or not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(f"{argument} must be {count} class numbers, one for each image; got {_briefly(array)}")
    host = np.asarray(array)
    if host.min() < 0 or host.max() >= classes:
        row = np.flatnonzero((host < 0) | (host >= classes))[0]
        raise ValueError(f"{argument} must lie in 0..{classes - 1} for {classes} classes; got {host[row]} at row {row}")


def train_set(train: Any, argument: str = "train") -> None:
    """What a method may see, whole and consistent."""
    kind(train, TrainSet, argument, "ddjax.prepare makes one: its `train`")
    images(train.images, f"{argument}.images", train.space)
    labels(train.labels, f"{argument}.labels", len(train.images), train.num_classes)
    if getattr(train.ids, "shape", None) != (len(train.images),):
        raise ValueError(f"{argument}.ids must name each of {len(train.images)} images; got {_briefly(train.ids)}")


def learnable(train: Any, argument: str = "train") -> None:
    """A training set that networks can be trained on."""
    train_set(train, argument)
    if train.space == PIXELS:
        raise ValueError(
            f"{argument} must be in the space of a preprocessing; got raw pixels. Move it there first, with "
            "ddjax.to_space or preprocess.apply"
        )


def test_set(test: Any, argument: str = "test") -> None:
    """Test images and labels, whole and consistent."""
    kind(test, TestSet, argument, "ddjax.prepare makes one: its `test`")
    images(test.images, f"{argument}.images", test.space)
    labels(test.labels, f"{argument}.labels", len(test.images), test.num_classes)


def audit(found: Any, train: TrainSet | None, argument: str = "audit") -> None:
    """The truth about exactly the training examples at hand."""
    if found is None:
        return
    kind(found, Audit, argument, "ddjax.prepare makes one: its `audit`")
    if train is None:
        raise ValueError(f"{argument} tells the truth about train: pass train= with it, or leave it out")
    if not np.array_equal(np.asarray(train.ids), np.asarray(found.ids)):
        raise ValueError(f"{argument}.ids are not train.ids: both must name the same examples in the same order")
    labels(found.labels, f"{argument}.labels", len(train.ids), found.num_classes)


def same_classes(**counts: int) -> None:
    """All parts speak of the same number of classes."""
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise ValueError(f"numbers of classes differ: {said}; take parts of one data set")


def _briefly(value: Any) -> str:
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype}{list(value.shape)}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 40 else text[:37] + '...'}"
