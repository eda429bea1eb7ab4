"""Arrays on disk with a manifest: a JSON file that records the size and SHA-256 of every array file.

Checkpoints, distilled sets, denoise reports, kept stages and fitted whitenings are one .npz with a manifest of the same
name: `save` and `load`. The data cache and the expert buffer need memory-mapped files of another layout: they call
`write` and `read`. Every file is written under a temporary name and then renamed. The manifest is written last.
"""

import hashlib
import json
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from ddjax.storage.arrays import read_npz
from ddjax.storage.files import replacing, sha256

ARRAYS = "arrays"  # the name of the .npz in its manifest


class Kind(NamedTuple):
    """What a manifest describes."""

    format: str
    schema: int
    noun: str  # for messages: "a distilled set"
    unsealed: tuple[int, ...] = ()  # earlier schemas that are still read: one SHA-256 for the .npz, no digest of itself


class Damaged(ValueError):
    """A file is missing, or differs from what was written."""


class Unsupported(ValueError):
    """The manifest has a schema that this version does not read."""


def save(
    stem: pathlib.Path, kind: Kind, arrays: Mapping[str, Any], fields: Mapping[str, Any], *, compress: bool = False
) -> pathlib.Path:
    """Write `stem`.npz, then `stem`.json.

    Args:
      stem: the path of both files without suffix.
      kind: the format and schema to record.
      arrays: by name.
      fields: what else the manifest records, as JSON.
      compress: whether the .npz is compressed.

    Raises:
      OSError: a file could not be written; the earlier version of that file is intact.

    Example:
      >>> import pathlib, tempfile
      >>> kind = Kind("my-format", 1, "a record of mine")
      >>> stem = pathlib.Path(tempfile.mkdtemp()) / "record"
      >>> save(stem, kind, {"x": np.arange(3)}, {"rate": 0.1}).name
      'record.npz'
      >>> arrays, fields = load(stem, kind)
      >>> arrays["x"].tolist(), fields["rate"]
      ([0, 1, 2], 0.1)
    """
    npz, side = paths(stem)
    host = {name: np.asarray(array) for name, array in arrays.items()}
    with replacing(npz) as file:
        (np.savez_compressed if compress else np.savez)(file, **host)
    listed = {name: [str(array.dtype), list(array.shape)] for name, array in host.items()}
    write(side, kind, {**fields, ARRAYS: listed}, {ARRAYS: npz})
    return npz


def load(stem: pathlib.Path, kind: Kind, fields: Collection[str] = ()) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save` wrote.

    Raises:
      Damaged: a file is missing, or differs from what was written.
      Unsupported: the manifest has another schema.
    """
    npz, side = paths(stem)
    for file in (npz, side):
        if not file.exists():
            raise Damaged(f"{file} is missing: {kind.noun} is two files, {npz.name} and {side.name}")
    manifest = read(side, kind, lambda name: npz, fields)
    try:
        return read_npz(npz), manifest
    except (OSError, ValueError) as error:
        raise Damaged(str(error)) from error


def paths(stem: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """The .npz and its manifest."""
    return stem.with_name(stem.name + ".npz"), stem.with_name(stem.name + ".json")


def write(path: pathlib.Path, kind: Kind, fields: Mapping[str, Any], files: Mapping[str, pathlib.Path]) -> None:
    """Write the manifest `path` for `files`, which are given by name and complete.

    Raises:
      OSError: the manifest could not be written; the earlier one is intact.
    """
    recorded = {name: {"bytes": file.stat().st_size, "sha256": sha256(file)} for name, file in files.items()}
    manifest = {"format": kind.format, "schema": kind.schema, **fields, "files": recorded}
    with replacing(path, "w") as file:
        json.dump(manifest | {"seal": seal(manifest)}, file, indent=1)


def read(
    path: pathlib.Path,
    kind: Kind,
    locate: Callable[[str], pathlib.Path],
    fields: Collection[str] = (),
    *,
    verify: bool = True,
) -> dict[str, Any]:
    """Read the manifest `path` and check it and its files.

    Args:
      path: the manifest.
      kind: the format and schema to expect.
      locate: the path of a file, given its name in the manifest.
      fields: names that the manifest must have.
      verify: whether the SHA-256 of each file is compared, or only its size.

    Raises:
      Damaged: a file is missing, or differs from what was written.
      Unsupported: the manifest has another schema.
    """
    try:
        manifest = json.loads(path.read_text())
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:  # from JSON, or from the text encoding
        raise Damaged(f"{path} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != kind.format:
        raise Damaged(f"{path} does not describe {kind.noun}: its 'format' is not {kind.format!r}")
    schema, stored = manifest.get("schema"), manifest.pop("seal", None)
    unsealed = schema in kind.unsealed
    if not unsealed:
        if stored != seal(manifest) and (stored is not None or schema == kind.schema):
            raise Damaged(f"{path} differs from what was written (SHA-256)")
        if schema != kind.schema:
            raise Unsupported(
                f"{path} has schema {schema!r}; this version reads {kind.schema}: use the ddjax that wrote it"
            )
    if missing := [name for name in (*fields, "sha256" if unsealed else "files") if name not in manifest]:
        raise Damaged(f"{path} is damaged: {', '.join(missing)} is missing; take all files from the same save")
    recorded = {ARRAYS: {"sha256": manifest["sha256"]}} if unsealed else manifest["files"]
    for name, expected in recorded.items():
        _check(locate(name), expected, verify)
    return manifest


def seal(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest that has no seal yet."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _check(file: pathlib.Path, expected: Mapping[str, Any], verify: bool) -> None:
    try:
        size = file.stat().st_size
        if size != expected.get("bytes", size):
            raise Damaged(f"{file} has {size} bytes instead of {expected['bytes']}: it was damaged or replaced")
        if verify and sha256(file) != expected["sha256"]:
            raise Damaged(f"{file} differs from what was written (SHA-256): it was damaged or replaced")
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(path: pathlib.Path, error: OSError) -> Damaged:
    missing = isinstance(error, FileNotFoundError | NotADirectoryError)
    return Damaged(f"{path} is missing" if missing else f"{path} cannot be read: {error}")
