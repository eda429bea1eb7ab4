"""What every command has in common: one clear line instead of a traceback for a user's mistake."""

import os
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(command: Callable[..., Any], description: str | None = None) -> None:
    """Run `command` with flags read from its signature by tyro; a ValueError or OSError ends with status 2."""
    import tyro

    try:
        status = tyro.cli(command, description=description)
    except (ValueError, OSError) as error:
        fail(error)
    sys.exit(status or 0)


def fail(error: Exception) -> None:
    """Say what is wrong and stop with status 2; an error that our own code did not raise keeps its traceback."""
    frame = error.__traceback__
    while frame.tb_next:
        frame = frame.tb_next
    ours = frame.tb_frame.f_globals.get("__name__", "").partition(".")[0] in ("ddjax", "experiments", "__main__")
    if not ours and not isinstance(error, OSError):
        raise error
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
