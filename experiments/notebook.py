"""The first lines of a notebook: on Colab or at home, on one device or several, with or without a Drive."""

import importlib
import os
import pathlib
import sys
from typing import Any, NamedTuple

from experiments.display.cli import keep_compiled

QUICK = "DDJAX_QUICK"
COLAB_DRIVE = pathlib.Path("/content/drive")


class Place(NamedTuple):
    """What a notebook should know about where it runs."""

    quick: bool  # sizes for a minute or two on a laptop's processor
    runs: pathlib.Path  # results go here
    devices: int
    mesh: Any  # over all devices, None where there is one


def begin(drive: str | None = None) -> Place:
    """Take the accelerator for JAX, keep compiled programs, and say what was found.

    Quick sizes are for processors; `DDJAX_QUICK=0` or `1` in the environment decides otherwise. On Colab, `drive` is a
    folder of your Drive where results outlive the session, "ddjax" for one; elsewhere it has no effect.
    """
    import jax

    from ddjax.execution.mesh import mesh_of
    from ddjax.storage.rows import hardware

    devices = jax.devices()  # first: whoever asks for an accelerator first has it, and TensorFlow would
    keep_compiled()
    chosen = os.environ.get(QUICK)
    if chosen not in (None, "0", "1"):
        raise ValueError(f"{QUICK} is 0 or 1; got {chosen!r}")
    quick = chosen == "1" if chosen else jax.default_backend() == "cpu"
    runs = pathlib.Path("runs")
    if drive is not None and "google.colab" in sys.modules:
        importlib.import_module("google.colab.drive").mount(str(COLAB_DRIVE))
        runs = COLAB_DRIVE / "MyDrive" / drive
    sizes = f"small sizes, {QUICK}=0 for the others" if quick else f"full sizes, {QUICK}=1 for small ones"
    print(f"jax {jax.__version__} on {hardware()}; {sizes}; results in {runs}/")
    return Place(quick, runs, len(devices), mesh_of() if len(devices) > 1 else None)
