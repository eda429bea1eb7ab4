"""Experts on disk: one array that grows block by block, and a manifest with the SHA-256 of every block.

A block is written and synced before the manifest lists it. A block that the manifest does not list, or whose SHA-256
differs, counts as missing.
"""

import functools
import hashlib
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ddjax.storage import manifest
from ddjax.storage.checkpoints import Checkpoints
from ddjax.storage.locks import alone
from ddjax.storage.rows import fingerprint

log = logging.getLogger("ddjax.experts")

KIND = manifest.Kind("ddjax-experts", 1, "a buffer of experts")
SETTLED = 2.0  # seconds since the last change of a file; a digest is cached only after them, because of coarse clocks
Stamp = tuple[int, ...]  # of a file; it differs after each change of the content


def stamp(file: pathlib.Path) -> Stamp:
    """Device, inode, size and modification times in ns of a file."""
    status = file.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@functools.lru_cache(maxsize=4096)  # blocks; a cached digest takes a few hundred bytes
def digest_of(file: pathlib.Path, number: int, size: int, at: Stamp) -> str:
    """SHA-256 of block `number` of a file with blocks of `size` bytes. The block is read once for each stamp."""
    del at
    return hashlib.sha256(np.memmap(file, np.uint8, "r", number * size, (size,))).hexdigest()


class Buffer:
    """The blocks [snapshots parameters] of experts 0, 1, ... of one identity, in a folder of its own."""

    def __init__(self, root: pathlib.Path, identity: dict[str, Any], block: tuple[int, int], dtype: np.dtype):
        """Read and write nothing yet. The folder below `root` is named by the hash of `identity`."""
        self.identity, self.block, self.dtype = identity, block, dtype
        self.folder = root / fingerprint(identity)
        self.file, self.manifest_file = self.folder / "trajectories.bin", self.folder / "manifest.json"
        self.block_bytes = block[0] * block[1] * dtype.itemsize

    def records(self) -> dict[str, Any]:
        """The records of the manifest, by expert number."""
        if not self.manifest_file.exists():
            return {}
        try:
            stored = manifest.read(self.manifest_file, KIND, lambda name: self.folder / name, ("identity", "experts"))
        except ValueError as error:
            log.warning("%s cannot be read (%s): its experts are trained again", self.manifest_file, error)
            return {}
        if stored["identity"] != self.identity:
            raise ValueError(
                f"{self.manifest_file} describes other experts than those that its folder is named for. "
                "Remove the folder, or name another one."
            )
        return stored["experts"]

    def intact(self, numbers: Iterable[int]) -> dict[int, dict[str, Any]]:
        """The records of those experts in `numbers` whose block has the recorded SHA-256.

        A process hashes a block once, as long as its file does not change.
        """
        records = self.records()
        claimed = [number for number in numbers if str(number) in records]
        if not claimed or not self.file.exists():
            return {}
        at = stamp(self.file)
        complete, changed = at[2] // self.block_bytes, max(at[3:])
        settled = time.time_ns() - changed > SETTLED * 1e9
        digest = digest_of if settled else digest_of.__wrapped__

        def is_intact(number: int) -> bool:
            recorded = records[str(number)].get("sha256")
            return number < complete and digest(self.file, number, self.block_bytes, at) == recorded

        return {number: records[str(number)] for number in claimed if is_intact(number)}

    def write(self, number: int, snapshots: np.ndarray, record: dict[str, Any]) -> None:
        """Store the block of one expert, then its record with the SHA-256 of the block."""
        raw = snapshots.tobytes()
        with open(os.open(self.file, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
            file.seek(number * self.block_bytes)
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        records = {**self.records(), str(number): record}
        manifest.write(self.manifest_file, KIND, {"identity": self.identity, "experts": records}, {})

    def open(self, experts: int) -> np.ndarray:
        """The blocks of the first experts, memory-mapped and read-only: [experts snapshots parameters]."""
        return np.memmap(self.file, self.dtype, "r", shape=(experts, *self.block))

    def make(self, missing: int) -> None:
        """Make the folder, and check that the missing blocks fit on the disk.

        Raises:
          ValueError: the folder cannot be made, or the blocks do not fit.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"folder {self.folder} cannot be made: {error}. Name another one, or set store=False."
            ) from error
        needed, free = missing * self.block_bytes, shutil.disk_usage(self.folder).free
        if needed > free:
            raise ValueError(
                f"{needed / 1e9:.2f} GB of trajectories do not fit in {self.folder}, which has {free / 1e9:.2f} GB "
                'left. Name another folder, keep fewer epochs, or set storage="bfloat16" or store=False.'
            )

    def alone(self) -> AbstractContextManager[None]:
        """A lock: one process at a time trains into this buffer."""
        return alone(self.folder / "lock", f"the training of experts in {self.folder}", wait=True)

    def checkpoints(self) -> Checkpoints:
        """The checkpoints of experts in training."""
        return Checkpoints(self.folder / "unfinished", {"identity": self.identity})
