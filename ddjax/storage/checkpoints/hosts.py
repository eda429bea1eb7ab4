"""Decisions that the processes of one run take together: process 0 reads, and all follow the same branch."""

import io
from collections.abc import Callable, Mapping

import jax
import numpy as np


def agreed(*mine: bool) -> tuple[bool, ...]:
    """Elementwise OR of the flags of all processes. Every process of the run must call it."""
    if jax.process_count() == 1:
        return mine
    from jax.experimental import multihost_utils

    return tuple(multihost_utils.process_allgather(np.array(mine)).any(axis=0).tolist())


def from_first(read: Callable[[], Mapping[str, np.ndarray] | None]) -> Mapping[str, np.ndarray] | None:
    """Call `read` on process 0 and broadcast the result, bit for bit, to all processes.

    Raises:
      ValueError: `read` raised a ValueError or an OSError on process 0. Process 0 raises the original error.
    """
    if jax.process_count() == 1:
        return read()
    arrays, error = None, None
    if jax.process_index() == 0:
        try:
            arrays = read()
        except (ValueError, OSError) as raised:
            error = raised
    answer = _sent(b"error" + str(error).encode() if error else b"none" if arrays is None else _packed(arrays))
    if error:
        raise error
    if answer.startswith(b"error"):
        raise ValueError(f"the first host of this run stopped: {answer[5:].decode()}")
    return None if answer == b"none" else _unpacked(answer)


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _unpacked(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _sent(content: bytes) -> bytes:
    """The `content` of process 0. It is sent as bytes because the broadcast is a sum, which turns -0.0 into 0.0."""
    from jax.experimental import multihost_utils

    mine = np.frombuffer(content, np.uint8)
    size = multihost_utils.broadcast_one_to_all(np.frombuffer(len(content).to_bytes(8, "big"), np.uint8))
    count = int.from_bytes(np.asarray(size).tobytes(), "big")
    if jax.process_index():
        mine = np.zeros(count, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(mine)).tobytes()
