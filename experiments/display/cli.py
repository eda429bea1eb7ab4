"""What every command has in common: one clear line instead of a traceback for a user's mistake."""

import dataclasses
import errno
import logging
import os
import platform
import re
import sys
import typing
from collections.abc import Callable, Collection
from typing import Any

from ddjax import stopping

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
FULL = ". Free space there and give the same command again: it goes on from what is kept."
HUGE_PAGES = "glibc.malloc.hugetlb=1"

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(command: Callable[..., Any], description: str | None = None) -> None:
    """Run `command` with flags read from its signature by tyro; a ValueError or OSError ends with status 2.

    The library's messages name arguments as Python writes them (`image_size=32`); those that are flags of the command
    are shown as they are typed (`--image-size 32`).
    """
    import tyro

    try:
        with stopping.in_order():
            status = tyro.cli(command, description=description)
    except (ValueError, OSError) as error:
        fail(error, flags(command))
    sys.exit(status or 0)


def flags(command: Any) -> set[str]:
    """The names of a command's flags: parameters, and the fields of those that are dataclasses; positional ones not."""
    import tyro

    names: set[str] = set()
    for name, kind in typing.get_type_hints(command).items():
        kinds = [one for one in (kind, *typing.get_args(kind)) if dataclasses.is_dataclass(one)]
        for one in kinds:
            hints = typing.get_type_hints(one, include_extras=True).items()
            names |= {field for field, hint in hints if tyro.conf.Positional not in getattr(hint, "__metadata__", ())}
        names |= set() if kinds else {name}
    return names - {"return"}


def as_typed(words: str, names: Collection[str]) -> str:
    """The words with `image_size=32` as `--image-size 32`, `strict=True` as `--strict`, for these names."""

    def flag(found: re.Match) -> str:
        name, value = found[1].replace("_", "-"), found[2]
        return {"True": f"--{name}", "False": f"--no-{name}", "": f"--{name}"}.get(value, f"--{name} {value}")

    if not names:
        return words
    name, value = "|".join(map(re.escape, names)), r"-?\w+(?:\.\w+)?|'[^']*'|"
    return re.sub(rf"(?<![\w.-])({name})=({value})", flag, words)


def keep_compiled() -> None:
    """Keep compiled programs in the user's cache, so that a second run starts at once.

    `$JAX_COMPILATION_CACHE_DIR` is another place; `JAX_ENABLE_COMPILATION_CACHE=false` does without.
    """
    import jax

    from ddjax.storage.files import cache_dir

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "compiled"))


def make_deterministic() -> None:
    """Have XLA choose only kernels that give the same bits each time, before any backend exists.

    A CPU's are: with the same machine, number of devices and versions the same seed gives the same bits.
    """
    flags = "--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()


def show_log() -> None:
    """Say on standard error what the library logs: sizes of what it stores, memory it plans, experts in training."""
    logger = logging.getLogger("ddjax")
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)


def join_hosts() -> None:
    """Join the other processes of this run, before anything is computed.

    Slurm, TPU pods and MPI say who they are; elsewhere three variables do.
    """
    import jax

    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    given = [os.environ.get(name) for name in names]
    if None in given and any(given[1:]):
        raise ValueError(f"several hosts need all of {', '.join(names)}; got {given}")
    if None in given:
        jax.distributed.initialize()
    else:
        jax.distributed.initialize(given[0], int(given[1]), int(given[2]))


def with_huge_pages() -> None:
    """Start this process again with an allocator that asks for huge pages; it reads its settings only then.

    On Linux a jitted call's first touch of its buffers otherwise costs as much as the arithmetic of a narrow network.
    """
    if platform.libc_ver()[0] == "glibc" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = HUGE_PAGES
        os.execv(sys.executable, sys.orig_argv)


def fail(error: Exception, names: Collection[str] = ()) -> None:
    """Say what is wrong and stop with status 2; an error that our own code did not raise keeps its traceback.

    Arguments that the library names are shown as flags, as far as they are among `names`.
    """
    frame = error.__traceback__
    while frame.tb_next:
        frame = frame.tb_next
    package = frame.tb_frame.f_globals.get("__name__", "").partition(".")[0]
    if package not in ("ddjax", "experiments", "__main__") and not isinstance(error, OSError):
        raise error
    words = as_typed(str(error), names) if package == "ddjax" else str(error)
    if isinstance(error, OSError) and error.errno and error.filename is None:
        words += ", and the system names no file: it is standard output, perhaps"
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        words += FULL
    print(f"error: {words}", file=sys.stderr)
    sys.exit(2)
