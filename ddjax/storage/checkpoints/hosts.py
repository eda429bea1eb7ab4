"""What the hosts of one run decide together: the first one reads, and all take the same turn."""

import io
from collections.abc import Callable, Mapping

import jax
import numpy as np


def agreed(*mine: bool) -> tuple[bool, ...]:
    """Whether any host of this run wants each of these: what they compute together they keep and leave together."""
    if jax.process_count() == 1:
        return mine
    from jax.experimental import multihost_utils

    return tuple(multihost_utils.process_allgather(np.array(mine)).any(axis=0).tolist())


def from_first(read: Callable[[], Mapping[str, np.ndarray] | None]) -> Mapping[str, np.ndarray] | None:
    """The arrays that `read` gives on the first host, bit for bit on every host; the others do not call it.

    Args:
      read: gives arrays by name, or None.

    Raises:
      ValueError: on every other host, where `read` raised an error on the first, which it raises itself.
    """
    if jax.process_count() == 1:
        return read()
    found, error = None, None
    if jax.process_index() == 0:
        try:
            found = read()
        except (ValueError, OSError) as raised:
            error = raised
    answer = _sent(b"error" + str(error).encode() if error else b"none" if found is None else _packed(found))
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
    """The first host's `content`; as bytes, since the sum over hosts that sends it would turn -0.0 into 0.0."""
    from jax.experimental import multihost_utils

    mine = np.frombuffer(content, np.uint8)
    size = multihost_utils.broadcast_one_to_all(np.frombuffer(len(content).to_bytes(8, "big"), np.uint8))
    count = int.from_bytes(np.asarray(size).tobytes(), "big")
    if jax.process_index():
        mine = np.zeros(count, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(mine)).tobytes()
