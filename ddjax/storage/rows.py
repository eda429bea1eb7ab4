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
from typing import Any, NamedTuple

from ddjax import __version__
from ddjax.storage.locks import alone

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


class Line(NamedTuple):
    """One line of a file of rows."""

    number: int  # from 1
    row: dict[str, Any] | None  # None: `wrong` says why the line is no row
    wrong: str = ""


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """All rows of a file of JSON lines.

    Raises:
      ValueError: a line is not a row; the message names it. `scan` goes on past such lines.
    """
    rows = []
    for number, row, wrong in scan(path):
        if row is None:
            raise ValueError(f"{path}, line {number} {wrong}")
        rows.append(row)
    return rows


def scan(path: pathlib.Path) -> list[Line]:
    """Every line that is not blank, as a row or with the reason why it is none."""
    lines = enumerate(text_of(path).split("\n"), 1)
    return [Line(number, *parsed(line)) for number, line in lines if line.strip()]


def text_of(path: pathlib.Path) -> str:
    """The text of a JSON file, in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.

    Bytes that are not valid in that encoding become U+FFFD. `to_line` escapes this character, so that it marks damage.
    """
    data = path.read_bytes()
    return data.decode(json.detect_encoding(data), errors="replace")


def parsed(text: str) -> tuple[dict[str, Any] | None, str]:
    """The row that a text is, or None and the reason."""
    if "\ufffd" in text:
        return None, "holds bytes that are no text: the file is damaged or in another encoding"
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None, "holds half of a surrogate pair, which no file can hold as text"
    except (ValueError, RecursionError) as error:
        return None, f"is not JSON: {error}"
    return (found, "") if isinstance(found, dict) else (None, "is JSON but not an object, as a row is")


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
