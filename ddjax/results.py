"""Result rows: one JSON line each, named by the fingerprint of the configuration that made it."""

import dataclasses
import errno
import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import subprocess
from typing import Any

from ddjax import __version__
from ddjax.locks import alone

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def fingerprint(config: Any) -> str:
    """First 16 hex digits of SHA-256 of a frozen dataclass tree as sorted JSON: equal configs, equal names."""
    plain = dataclasses.asdict(config) if dataclasses.is_dataclass(config) else config
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Python and every package whose version can change a number."""
    found = {"python": platform.python_version(), "ddjax": __version__}
    return found | {package: importlib.metadata.version(package) for package in PACKAGES}


def hardware() -> str:
    """The device that JAX computes on, and how many there are."""
    import jax

    devices = jax.devices()
    kind = f"{os.cpu_count()} cores ({platform.machine()})" if devices[0].platform == "cpu" else devices[0].device_kind
    return f"{len(devices)} x {kind}"


def commit() -> str | None:
    """The commit of the checkout that ddjax runs from, with a + where files differ from it; None outside of one."""
    root = pathlib.Path(__file__).parents[1]
    if not (root / ".git").exists():  # installed, perhaps below some other project's checkout
        return None
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def to_line(row: dict[str, Any]) -> str:
    """A row as one line of strict JSON: NaN, which JSON lacks, becomes null."""
    return json.dumps(_plain(row), allow_nan=False)


def append(path: pathlib.Path, row: dict[str, Any]) -> None:
    """Add a row to a file of JSON lines, one writer at a time; what cannot be written whole is not there at all.

    Raises:
      OSError: the row was not added, because the disk is full for instance; the message names the file.
    """
    with alone(path.with_name(f".{path.name}.lock"), str(path), wait=True), open(path, "ab+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - 1, 0))
        halved = end and file.read(1) != b"\n"  # by a process that was killed: its line stays a line of its own
        line = (b"\n" if halved else b"") + to_line(row).encode() + b"\n"
        try:
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError as error:
            os.truncate(path, end)
            raise OSError(error.errno, f"{error.strerror}: the row was not added", str(path)) from error


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """All rows of a file of JSON lines; a damaged line is an error that says which."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
