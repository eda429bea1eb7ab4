"""Experts on disk: one array, grown block by block, and a manifest that vouches for every block.

A block is written and synced before the manifest, replaced in one move, speaks of it; whatever the manifest does not
speak of, or speaks of otherwise than the file has it, is not there.
"""

import functools
import hashlib
import json
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ddjax.storage.checkpoints import Checkpoints
from ddjax.storage.files import replacing
from ddjax.storage.locks import alone
from ddjax.storage.rows import fingerprint

log = logging.getLogger("ddjax.experts")

SETTLED = 2.0  # seconds since a file last changed; a second change within a clock's tick could go unseen
Stamp = tuple[int, ...]  # of a file; another one is another content


def stamp(file: pathlib.Path) -> Stamp:
    """What tells a file's content from what it was before: device, inode, size, and the times of its changes in ns."""
    found = file.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@functools.lru_cache(maxsize=4096)  # blocks; an entry is a few hundred bytes
def digest_of(file: pathlib.Path, number: int, size: int, at: Stamp) -> str:
    """SHA-256 of block `number` of a file whose blocks are of `size` bytes, read once for each stamp of the file."""
    del at
    return hashlib.sha256(np.memmap(file, np.uint8, "r", number * size, (size,))).hexdigest()


class Buffer:
    """The blocks [snapshots parameters] of experts 0, 1, ... that share one identity, in a folder of its own."""

    def __init__(self, root: pathlib.Path, identity: dict[str, Any], block: tuple[int, int], dtype: np.dtype):
        """A buffer below `root`, whether it exists or not; the folder's name is the key of its content."""
        self.identity, self.block, self.dtype = identity, block, dtype
        self.folder = root / fingerprint(identity)
        self.file, self.manifest_file = self.folder / "trajectories.bin", self.folder / "manifest.json"
        self.block_bytes = block[0] * block[1] * dtype.itemsize

    def records(self) -> dict[str, Any]:
        """What the manifest says of each expert, by its number."""
        try:
            manifest = json.loads(self.manifest_file.read_text())
            said, records = manifest["identity"], dict(manifest["experts"])
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be read (%s): its experts are trained again", self.manifest_file, error)
            return {}
        if said != self.identity:
            raise ValueError(
                f"{self.manifest_file} describes other experts than those that its folder is named for. "
                "Remove the folder, or name another one."
            )
        return records

    def intact(self, numbers: Iterable[int]) -> dict[int, dict[str, Any]]:
        """The records of those experts whose block is exactly what was written.

        A block is hashed once in a process as long as its file does not change.
        """
        records = self.records()
        claimed = [number for number in numbers if str(number) in records]
        if not claimed or not self.file.exists():
            return {}
        at = stamp(self.file)
        whole, changed = at[2] // self.block_bytes, max(at[3:])
        settled = time.time_ns() - changed > SETTLED * 1e9
        digest = digest_of if settled else digest_of.__wrapped__
        return {
            number: records[str(number)]
            for number in claimed
            if number < whole and digest(self.file, number, self.block_bytes, at) == records[str(number)].get("sha256")
        }

    def write(self, number: int, snapshots: np.ndarray, record: dict[str, Any]) -> None:
        """Store one expert's block, then its record, which names the block's SHA-256."""
        raw = snapshots.tobytes()
        with open(os.open(self.file, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
            file.seek(number * self.block_bytes)
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        records = {**self.records(), str(number): record}
        with replacing(self.manifest_file, "w") as file:
            json.dump({"identity": self.identity, "experts": records}, file, indent=1)

    def open(self, experts: int) -> np.ndarray:
        """The first experts, memory-mapped and read-only: [experts snapshots parameters]."""
        return np.memmap(self.file, self.dtype, "r", shape=(experts, *self.block))

    def make(self, missing: int) -> None:
        """Make the folder, and see that the missing blocks will fit."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"folder {self.folder} cannot be made: {error}. Name another, or say store=False."
            ) from error
        needed, free = missing * self.block_bytes, shutil.disk_usage(self.folder).free
        if needed > free:
            raise ValueError(
                f"{needed / 1e9:.2f} GB of trajectories do not fit in {self.folder}, which has {free / 1e9:.2f} GB "
                'left. Name another folder, keep fewer epochs, say storage="bfloat16" or store=False.'
            )

    def alone(self) -> AbstractContextManager[None]:
        """No other process trains into this buffer meanwhile."""
        return alone(self.folder / "lock", f"the training of experts in {self.folder}", wait=True)

    def checkpoints(self) -> Checkpoints:
        """Those of experts in training."""
        return Checkpoints(self.folder / "unfinished", {"identity": self.identity})
