"""Conversion of a transform to arrays and strings, and back, for files."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ddjax.preprocess.transform import Preprocess

_ARRAYS = ("mean", "std", "zca_mean", "zca", "zca_inverse")
_STATIC = ("name", "fingerprint")
_TOGETHER = (("mean", "std"), ("zca_mean", "zca", "zca_inverse"))


def save_arrays(p: Preprocess) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of `p` by field name, and its static fields as JSON.

    Example:
      >>> save_arrays(Preprocess(name="unit", fingerprint="unit:0"))
      ({}, {'name': 'unit', 'fingerprint': 'unit:0'})
    """
    arrays = {name: np.asarray(array) for name in _ARRAYS if (array := getattr(p, name)) is not None}
    return arrays, {name: getattr(p, name) for name in _STATIC}


def from_arrays(arrays: Mapping[str, Any], static: Mapping[str, str]) -> Preprocess:
    """The inverse of `save_arrays`, bit for bit.

    Raises:
      ValueError: the names are not those of a transform.
    """
    strange = sorted(set(arrays) - set(_ARRAYS)) + sorted(set(static) ^ set(_STATIC))
    halves = [group for group in _TOGETHER if len({name in arrays for name in group}) > 1]
    if strange or halves:
        raise ValueError(
            f"not a saved preprocess: arrays {sorted(arrays)} and fields {sorted(static)}; expected "
            f"{list(_STATIC)} and all or none of each of {[list(group) for group in _TOGETHER]}"
        )
    return Preprocess(**{name: jnp.asarray(array) for name, array in arrays.items()}, **static)
