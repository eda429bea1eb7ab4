"""One checkpoint on disk: arrays, the history so far, and a manifest that vouches for both."""

import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ddjax.storage.files import array_digest, read_npz, sha256
from ddjax.trees import by_data, raw

T = TypeVar("T")

FORMAT, SCHEMA = "ddjax-checkpoint", 1
MANIFEST, STATE, HISTORY = "manifest.json", "state.npz", "history.npz"
LISTED = 12  # differences that an error lists


class Damaged(Exception):
    """A checkpoint that is not what was written."""


class Changed(ValueError):
    """A checkpoint of another configuration, other data or another layout of the state."""


class Leaf(NamedTuple):
    """An array of a state, on the host."""

    described: list[Any]  # see `described`
    array: np.ndarray


def on_host(state: Any) -> list[Leaf]:
    """The arrays of a state."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return [Leaf(described(path, leaf), _host(leaf)) for path, leaf in leaves]


def write_step(
    aside: pathlib.Path,
    step: int,
    config: dict[str, Any],
    leaves: list[Leaf],
    history: Mapping[str, Any],
    spent: float,
) -> None:
    """Fill a folder with a checkpoint; `spent` are the seconds that it took to get here."""
    np.savez(aside / STATE, **{f"{i:06d}": leaf.array for i, leaf in enumerate(leaves)})
    np.savez(aside / HISTORY, **history)
    manifest = {
        "format": FORMAT,
        "schema": SCHEMA,
        "step": step,
        "spent": round(spent, 3),
        "config": config,
        "leaves": [leaf.described for leaf in leaves],
        "files": {
            name: {"bytes": (aside / name).stat().st_size, "sha256": sha256(aside / name)} for name in (STATE, HISTORY)
        },
    }
    (aside / MANIFEST).write_text(json.dumps(manifest | {"seal": _seal(manifest)}, indent=1))


def digest(tree: Any) -> str:
    """16 hex digits that stand for the arrays of a tree, in a configuration."""
    return array_digest(*(_host(leaf) for leaf in jax.tree.leaves(tree)))


def differences(there: Any, here: Any, name: str = "") -> list[str]:
    """What differs between two configurations, as `key: there -> here`, the first few."""
    found = [f"{key}: {old} -> {new}" for key, old, new in _differing(there, here, name)]
    return found if len(found) <= LISTED else [*found[:LISTED], f"and {len(found) - LISTED} more"]


def described(path: Any, leaf: Any) -> list[Any]:
    """[where, dtype, shape] of a leaf of a state; the dtype of keys names their generator."""
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


def _seal(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """What a checkpoint says of itself, once its files are what it says of them."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        seal = manifest.pop("seal")
        if manifest["format"] != FORMAT or seal != _seal(manifest):
            raise Damaged(f"{MANIFEST} is not what was written")
        if manifest["schema"] != SCHEMA:
            raise Changed(
                f"{folder} has schema {manifest['schema']}; this version reads {SCHEMA}: use the ddjax that wrote it, "
                "or start anew (--fresh, or fresh=True)"
            )
        for name, said in manifest["files"].items():
            path = folder / name
            if (size := path.stat().st_size) != said["bytes"]:
                raise Damaged(f"{name} has {size} bytes instead of {said['bytes']}")
            if sha256(path) != said["sha256"]:
                raise Damaged(f"{name} differs from what was written (SHA-256)")
    except FileNotFoundError as error:
        raise Damaged(f"{pathlib.Path(error.filename).name} is missing") from error
    except Changed:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{type(error).__name__}: {error}") from error
    return manifest


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz, or `Damaged`."""
    try:
        return read_npz(path)
    except (OSError, ValueError) as error:
        raise Damaged(str(error)) from error


def read_state(folder: pathlib.Path, manifest: dict[str, Any], like: Any) -> dict[str, np.ndarray]:
    """The arrays of the state, for `placed`; `Changed` where it has another layout than `like`."""
    wanted = [described(path, leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(like)]
    if manifest["leaves"] != wanted:
        there, here = ({name: [*rest] for name, *rest in each} for each in (manifest["leaves"], wanted))
        raise Changed(
            f"{folder} holds a state of another layout ({'; '.join(differences(there, here))}): it was made by other "
            "code or other settings; go back to these, or start anew (--fresh, or fresh=True)"
        )
    return read_arrays(folder / STATE)


def placed(arrays: Mapping[str, np.ndarray], like: T) -> T:
    """The state of these arrays, with the structure and on the devices of `like`."""
    leaves, structure = jax.tree.flatten(like)
    return structure.unflatten([_placed(arrays[f"{i:06d}"], leaf) for i, leaf in enumerate(leaves)])


def _placed(array: np.ndarray, like: Any) -> Any:
    """The array with the dtype, and on the devices, of `like`; NumPy writes bfloat16 as bytes without a name."""
    return by_data(lambda each: _on(array.view(each.dtype) if array.dtype.kind == "V" else array, each), like)


def _on(array: np.ndarray, like: Any) -> Any:
    return jax.device_put(array, like.sharding) if getattr(like, "committed", False) else jnp.asarray(array)
