"""Start of a notebook: devices, sizes, compilation cache and the results directory."""

import importlib
import os
import pathlib
import sys
from typing import Any, NamedTuple

QUICK = "DDJAX_QUICK"
COLAB_DRIVE = pathlib.Path("/content/drive")


class Place(NamedTuple):
    """The environment of a notebook."""

    quick: bool  # small sizes, for one or two minutes on a laptop CPU
    runs: pathlib.Path  # results directory
    devices: int
    mesh: Any  # over all devices; None for a single device


def begin(drive: str | None = None) -> Place:
    """Initialise JAX, turn on the compilation cache, and print the devices.

    Small sizes are the default on a CPU. `DDJAX_QUICK=0` or `DDJAX_QUICK=1` in the environment overrides this.

    Args:
      drive: on Colab, a folder of your Drive for results, such as "ddjax"; elsewhere it has no effect.

    Returns:
      Sizes, results directory and devices.

    Raises:
      ValueError: `DDJAX_QUICK` is neither 0 nor 1.
    """
    import jax

    from ddjax.backend import target
    from ddjax.execution.mesh import mesh_of
    from ddjax.storage.compiled import keep_compiled
    from ddjax.storage.rows import hardware

    devices = jax.devices()  # before TensorFlow can claim the accelerator
    keep_compiled()
    chosen = os.environ.get(QUICK)
    if chosen not in (None, "0", "1"):
        raise ValueError(f"{QUICK} must be 0 or 1; got {chosen!r}")
    quick = chosen == "1" if chosen else target() == "cpu"
    runs = pathlib.Path("runs")
    if drive is not None and "google.colab" in sys.modules:
        importlib.import_module("google.colab.drive").mount(str(COLAB_DRIVE))
        runs = COLAB_DRIVE / "MyDrive" / drive
    sizes = f"small sizes ({QUICK}=0 for full ones)" if quick else f"full sizes ({QUICK}=1 for small ones)"
    print(f"jax {jax.__version__} on {hardware()}; {sizes}; results in {runs}/")
    return Place(quick, runs, len(devices), mesh_of() if len(devices) > 1 else None)
