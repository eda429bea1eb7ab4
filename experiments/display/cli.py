"""Shared parts of the commands: flags, error messages, and process-wide settings."""

import dataclasses
import errno
import os
import pathlib
import platform
import re
import shlex
import sys
import typing
from collections.abc import Callable, Collection
from typing import Any, NoReturn

from ddjax import stopping
from ddjax.storage.files import expanded

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
FULL = ". Free space there and run the same command again: it continues from what was saved."
QUOTES = "'\""
HUGE_PAGES = "glibc.malloc.hugetlb=1"

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(command: Callable[..., Any], description: str | None = None) -> None:
    """Run `command` with flags that tyro reads from its signature.

    A ValueError, an OSError, and an ImportError of a missing package end with status 2.

    The library's messages name arguments as in Python (`image_size=32`). Arguments that are flags of the command are
    shown as typed (`--image-size 32`).

    Args:
      command: returns the exit status, or None for 0.
      description: printed by `--help`, above the flags.
    """
    import tyro

    try:
        with stopping.in_order():
            status = tyro.cli(command, prog=program(), description=description)
    except stopping.Stopped as stopped:
        end(stopped)
    except (ValueError, OSError, ImportError) as error:
        fail(error, flags(command))
    sys.exit(status or 0)


def end(stopped: stopping.Stopped) -> NoReturn:
    """End this process at once, because a computation of JAX that still runs crashes an interpreter that shuts down.

    One of several hosts ends in the usual way, which tells the others.
    """
    jax = sys.modules.get("jax")
    if jax is None or jax.distributed.is_initialized():
        raise stopped
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(stopped.code)


def program() -> str:
    """The running command as typed, for the usage line of `--help`."""
    spec = sys.modules["__main__"].__spec__
    return f"python -m {spec.name}" if spec else sys.argv[0]


def as_repeated(name: str) -> str:
    """The running command `experiments.NAME` with its arguments, for the rows that it writes."""
    return shlex.join(["python", "-m", f"experiments.{name}", *sys.argv[1:]])


def flags(command: Any) -> set[str]:
    """The names of a command's flags: its parameters, and the fields of dataclass parameters, without positionals."""
    import tyro

    names: set[str] = set()
    for name, kind in typing.get_type_hints(command).items():
        kinds = [one for one in (kind, *typing.get_args(kind)) if dataclasses.is_dataclass(one)]
        for one in kinds:
            hints = typing.get_type_hints(one, include_extras=True).items()
            names |= {field for field, hint in hints if tyro.conf.Positional not in getattr(hint, "__metadata__", ())}
        names |= set() if kinds else {name}
    return names - {"return"}


def options() -> set[str]:
    """The fields of the configurations of all methods, which --options takes; none before methods are loaded."""
    distillers = sys.modules.get("ddjax.distillers")
    methods = distillers.DISTILLERS.values() if distillers else ()
    return {field.name for method in methods for field in dataclasses.fields(method.config)}


def as_typed(words: str, names: Collection[str]) -> str:
    """Replace `image_size=32` by `--image-size 32`, and `strict=True` by `--strict`, for these names.

    A command with --options takes fields of a method there: `short_class='real'` is `--options short_class=real`.
    """
    fields = options() - set(names) if "options" in names else set()

    def flag(found: re.Match) -> str:
        name, value = found[1].replace("_", "-"), found[2]
        if found[1] in fields:
            return f"--options {found[1]}={value.strip(QUOTES)}"
        return {"True": f"--{name}", "False": f"--no-{name}", "": f"--{name}"}.get(value, f"--{name} {value}")

    if not names:
        return words
    name, value = "|".join(map(re.escape, {*names, *fields})), r"""-?\w+(?:\.\w+)?|'[^']*'|"[^"]*"|"""
    return re.sub(rf"(?<![\w.-])({name})=({value})", flag, words)


def check_folder(flag: str, folder: pathlib.Path | None) -> None:
    """Raise a ValueError that names the flag if the folder cannot be made, because it or one above it is a file."""
    place = next((each for each in (folder, *folder.parents) if each.exists()), None) if folder else None
    if place and not place.is_dir():
        raise ValueError(f"{flag} {folder} must be a folder, and {place} is a file: choose another one by {flag}")


def check_file(flag: str, file: pathlib.Path) -> None:
    """Raise a ValueError that names the flag if the file cannot be written, because a folder has its name."""
    if file.is_dir():
        raise ValueError(f"{flag} {file} must be a file, and it is a folder: add the name of a file")
    check_folder(flag, file.parent)


def make_deterministic() -> None:
    """Restrict XLA to deterministic kernels. Call this before JAX creates a backend.

    On a CPU the flags change nothing: the same seed gives the same bits on the same machine with the same versions and
    number of devices.
    """
    flags = "--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()


def use_data_dir(folder: str | None) -> None:
    """Make `folder` the TFDS directory of this process and of those that it starts; None leaves the default."""
    if folder is not None:
        os.environ["TFDS_DATA_DIR"] = str(expanded(folder).absolute())


def join_hosts() -> None:
    """Connect to the other processes of this run. Call this before any computation.

    JAX detects Slurm, TPU pods and MPI. Elsewhere three environment variables describe the processes.
    """
    import jax

    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    given = [os.environ.get(name) for name in names]
    if None in given and any(given[1:]):
        raise ValueError(f"a run on several hosts needs all of {', '.join(names)}; got {given}")
    if None in given:
        try:
            jax.distributed.initialize()
        except ValueError as error:
            raise ValueError(f"no cluster was found ({error}): set {', '.join(names)} on each host") from error
    else:
        jax.distributed.initialize(given[0], int(given[1]), int(given[2]))


def with_huge_pages() -> None:
    """Restart this process with huge pages in the allocator, which reads its settings only at the start.

    Without huge pages, the page faults of a jitted call on Linux cost as much as the arithmetic of a narrow network.
    """
    if platform.libc_ver()[0] == "glibc" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = HUGE_PAGES
        os.execv(sys.executable, sys.orig_argv)


def fail(error: Exception, names: Collection[str] = ()) -> None:
    """Print the error on one line and exit with status 2.

    An error that another package raised, except an OSError, is a bug: it is raised again with its traceback.

    Args:
      error: as caught.
      names: flags of the command; arguments of these names in the library's messages are shown as flags.
    """
    frame = error.__traceback__
    while frame.tb_next:
        frame = frame.tb_next
    package = frame.tb_frame.f_globals.get("__name__", "").partition(".")[0]
    if package not in ("ddjax", "experiments", "__main__") and not isinstance(error, OSError):
        raise error
    words = as_typed(str(error), names) if package == "ddjax" else str(error)
    if isinstance(error, OSError) and error.errno:
        if error.filename is None:
            words += ". The system names no file; it may be standard output"
        elif error.errno in NO_SPACE:
            words += FULL
    print(f"error: {words}", file=sys.stderr)
    sys.exit(2)
