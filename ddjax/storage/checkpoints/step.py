"""The arrays of a state on the host and on its devices, and the differences between two configurations."""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ddjax.storage.files import array_digest
from ddjax.storage.manifest import Kind
from ddjax.trees import by_data, raw

T = TypeVar("T")

KIND = Kind("ddjax-checkpoint", 2, "a checkpoint")
NAME = "checkpoint"  # of the .npz and its manifest in the folder of a step
LISTED = 12  # most differences that an error lists


class Changed(ValueError):
    """A checkpoint of another configuration, other data or another layout of the state."""


class Leaf(NamedTuple):
    """An array of a state, on the host."""

    described: list[Any]  # path, dtype and shape; see `described`
    array: np.ndarray


def on_host(state: Any) -> list[Leaf]:
    """The arrays of a state; all processes of a run call it together."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return [Leaf(described(path, leaf), _host(leaf)) for path, leaf in leaves]


def digest(tree: Any) -> str:
    """16 hex digits of SHA-256 over the arrays of a tree, for use in a configuration."""
    return array_digest(*(_host(leaf) for leaf in jax.tree.leaves(tree)))


def differences(there: Any, here: Any) -> list[str]:
    """The first differences between two configurations, as `key: there -> here`."""
    lines = [f"{key}: {old} -> {new}" for key, old, new in _differing(there, here, "")]
    return lines if len(lines) <= LISTED else [*lines[:LISTED], f"and {len(lines) - LISTED} more"]


def described(path: Any, leaf: Any) -> list[Any]:
    """[path, dtype, shape] of a leaf of a state; the dtype of keys names their generator."""
    return [jax.tree_util.keystr(path, simple=True, separator="/"), str(leaf.dtype), [*leaf.shape]]


def _differing(there: Any, here: Any, name: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted({*there, *here}):
            inner = f"{name}.{key}" if name else key
            if key in there and key in here:
                yield from _differing(there[key], here[key], inner)
            else:
                yield inner, json.dumps(there.get(key, "none")), json.dumps(here.get(key, "none"))
    elif there != here:
        yield name, json.dumps(there), json.dumps(here)


def _host(leaf: Any) -> np.ndarray:
    return np.asarray(raw(leaf))


def check_layout(folder: pathlib.Path, leaves: list[Any], like: Any) -> None:
    """Raise `Changed` where the recorded leaves differ from those of `like`."""
    expected = [described(path, leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(like)]
    if leaves != expected:
        there, here = ({name: [*rest] for name, *rest in listed} for listed in (leaves, expected))
        raise Changed(
            f"{folder} holds a state of another layout ({'; '.join(differences(there, here))}): it was made by other "
            "code or other settings; go back to these, or start anew (--fresh, or fresh=True)"
        )


def placed(arrays: Mapping[str, np.ndarray], like: T) -> T:
    """The state made of these arrays, with the structure and on the devices of `like`."""
    leaves, structure = jax.tree.flatten(like)
    return structure.unflatten([_placed(arrays[f"{i:06d}"], leaf) for i, leaf in enumerate(leaves)])


def _placed(array: np.ndarray, like: Any) -> Any:
    """The array with the dtype, and on the devices, of `like`. NumPy stores bfloat16 as untyped bytes."""
    return by_data(lambda leaf: _on(array.view(leaf.dtype) if array.dtype.kind == "V" else array, leaf), like)


def _on(array: np.ndarray, like: Any) -> Any:
    return jax.device_put(array, like.sharding) if getattr(like, "committed", False) else jnp.asarray(array)
