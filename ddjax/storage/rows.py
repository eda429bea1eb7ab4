"""Result rows: one line of JSON each, identified by the fingerprint of its configuration."""

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
from typing import Any, NamedTuple

from ddjax import __version__
from ddjax.storage.locks import alone

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def fingerprint(config: Any) -> str:
    """First 16 hex digits of SHA-256 over a configuration as sorted JSON.

    Args:
      config: a dataclass, or anything that JSON can hold.

    Returns:
      The same digits for equal configurations.

    Example:
      >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
      True
    """
    plain = dataclasses.asdict(config) if dataclasses.is_dataclass(config) else config
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """The versions of Python, ddjax and the packages that can change a result."""
    own = {"python": platform.python_version(), "ddjax": __version__}
    return own | {package: importlib.metadata.version(package) for package in PACKAGES}


def hardware() -> str:
    """The number and kind of the devices of JAX."""
    import jax

    devices = jax.devices()
    kind = f"{os.cpu_count()} cores ({platform.machine()})" if devices[0].platform == "cpu" else devices[0].device_kind
    return f"{len(devices)} x {kind}"


def commit() -> str | None:
    """The commit of the checkout that ddjax runs from, with a + if files were changed; None outside of a checkout."""
    root = pathlib.Path(__file__).parents[2]
    if not (root / ".git").exists():  # ddjax is installed, perhaps inside a checkout of another project
        return None
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()


def to_line(row: dict[str, Any]) -> str:
    """A row as one line of strict JSON. NaN becomes null."""
    return json.dumps(_plain(row), allow_nan=False)


def append(path: pathlib.Path, row: dict[str, Any]) -> None:
    """Add a row to a file of JSON lines, one writer at a time. The row is added completely or not at all.

    Args:
      path: the file; it is made if it does not exist.
      row: the row.

    Raises:
      OSError: the row was not added, for example because the disk is full.

    Example:
      >>> import tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "rows.jsonl"
      >>> append(path, {"accuracy": 0.5})
      >>> read(path)
      [{'accuracy': 0.5}]
    """
    with alone(path.with_name(f".{path.name}.lock"), str(path), wait=True), open(path, "ab+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - 1, 0))
        partial = end and file.read(1) != b"\n"  # a killed process left a partial line; a newline ends it
        line = (b"\n" if partial else b"") + to_line(row).encode() + b"\n"
        try:
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError as error:
            os.truncate(path, end)
            raise OSError(error.errno, f"{error.strerror}: the row was not added", str(path)) from error


class Line(NamedTuple):
    """One line of a file of rows."""

    number: int  # from 1
    row: dict[str, Any] | None  # None if the line is not a row
    wrong: str = ""  # why it is not a row


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Read all rows of a file of JSON lines.

    Raises:
      ValueError: a line is not a row; the message names it. Use `scan` to continue past such lines.
    """
    rows = []
    for number, row, wrong in scan(path):
        if row is None:
            raise ValueError(f"{path}, line {number} {wrong}")
        rows.append(row)
    return rows


def scan(path: pathlib.Path) -> list[Line]:
    """Every line that is not blank, as a row or with the reason why it is not a row."""
    lines = enumerate(text_of(path).split("\n"), 1)
    return [Line(number, *parsed(line)) for number, line in lines if line.strip()]


def text_of(path: pathlib.Path) -> str:
    """The text of a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.

    Invalid bytes become U+FFFD. `to_line` escapes this character, so in a file it marks damage.
    """
    data = path.read_bytes()
    return data.decode(json.detect_encoding(data), errors="replace")


def parsed(text: str) -> tuple[dict[str, Any] | None, str]:
    """Parse a text as a row; if it is not one, return None and the reason."""
    if "\ufffd" in text:
        return None, "contains bytes that are not text: the file is damaged or in another encoding"
    try:
        row = json.loads(text)
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None, "contains half of a surrogate pair, which is not valid text"
    except (ValueError, RecursionError) as error:
        return None, f"is not JSON: {error}"
    return (row, "") if isinstance(row, dict) else (None, "is JSON but not an object")


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
