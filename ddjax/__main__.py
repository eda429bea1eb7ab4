"""Print versions, devices, data sets, directories and missing extras: `python -m ddjax`."""

import importlib.metadata
import os
import pathlib
import re

from ddjax.backend import target
from ddjax.data import loading
from ddjax.precision import asked
from ddjax.storage import files
from ddjax.storage import rows as results

HOME = pathlib.Path.home()
# extra -> what needs it
NEEDED_FOR = {
    "denoise": "experiments.denoise with --compare or --method cleanlab",
    "ray": "experiments.sweep --executor ray",
    "slurm": "experiments.sweep --executor slurm",
    "tensorboard": "--tensorboard of experiments.one and experiments.sweep",
    "notebooks": "the notebooks",
    "cuda": "NVIDIA GPUs",
    "tpu": "TPUs",
    "test": "pytest",
    "browser": "pytest, tests of the report page in Chromium",
    "docs": "mkdocs",
}


def report() -> str:
    """The facts as lines of text. Nothing is written, and neither TensorFlow nor neural-tangents is imported.

    Example:
      >>> report().startswith("version")
      True
    """
    found = results.versions()
    packages = ", ".join(f"{name} {version}" for name, version in found.items() if name not in ("ddjax", "python"))
    ours = [f"ddjax {found['ddjax']}", f"in {_short(pathlib.Path(__file__).parent)}"]
    commit = results.commit()
    facts = [
        ("version", ", ".join(ours + ([f"commit {commit}"] if commit else []))),
        ("python", f"{found['python']}: {packages}"),
        *_devices(),
        *_data(),
        *_caches(),
        *_extras(),
        ("next", "python -m experiments.one for a first run, python -m experiments.data check NAME for a data set"),
    ]
    return "\n".join(f"{name:<9} {fact}" for name, fact in facts)


def _devices() -> list[tuple[str, str]]:
    unused = [] if target() != "cpu" else _accelerators()
    return [
        ("devices", f"{results.hardware()}, backend {target()}, products in {asked()}"),
        *(("", f"{what}, but this jax cannot use it: pip install -e '.[{extra}]'") for what, extra in unused),
    ]


def _accelerators() -> list[tuple[str, str]]:
    """Accelerators that JAX does not use although their device files exist: (name, extra with the driver)."""
    if "cpu" in os.environ.get("JAX_PLATFORMS", ""):
        return []
    seen = [("an NVIDIA GPU", "cuda", "/dev/nvidia0"), ("a TPU", "tpu", "/dev/accel0")]
    return [(what, extra) for what, extra, device in seen if pathlib.Path(device).exists()]


def _data() -> list[tuple[str, str]]:
    root = files.data_dir()
    there = [name for name in loading.NAMES if loading.whereabouts(name, root)]
    missing = [name for name in loading.NAMES if name not in there]
    return [
        ("data", f"{_place(root)} ($TFDS_DATA_DIR)"),
        ("", f"ready: {', '.join(there)}"),
        ("", f"not there: {', '.join(missing) or 'none'}"),
    ]


def _caches() -> list[tuple[str, str]]:
    root = files.cache_dir()
    compiled = pathlib.Path(os.environ.get("JAX_COMPILATION_CACHE_DIR", root / "compiled"))
    return [("cache", f"{_place(root)} ($DDJAX_CACHE)"), ("compiled", f"{_place(compiled)} (programs)")]


def _extras() -> list[tuple[str, str]]:
    """Installed extras, then one line per missing extra with what needs it."""
    have = [name for name in NEEDED_FOR if _complete("ddjax", name)]
    lack = [name for name in NEEDED_FOR if name not in have]
    lines = [("extras", f"installed: {', '.join(have) or 'none'}")]
    if lack:
        lines.append(("", "not installed; pip install -e '.[NAME]' with one of these names:"))
        lines += [("", f"  {name:<11} for {NEEDED_FOR[name]}") for name in lack]
    return lines


def _complete(package: str, extra: str) -> bool:
    """Whether all packages of `package[extra]` are installed, in any version."""
    try:
        lines = importlib.metadata.requires(package) or []
        for line in lines:
            if not re.search(rf"extra == ['\"]{extra}['\"]", line):
                continue
            name, inner = re.match(r"([\w.-]+)(?:\[([\w-]+)\])?", line).groups()
            importlib.metadata.version(name)
            if inner and not _complete(name, inner):
                return False
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _place(path: pathlib.Path) -> str:
    return _short(path) + ("" if path.is_dir() else ", not made yet")


def _short(path: pathlib.Path) -> str:
    return f"~/{path.relative_to(HOME)}" if path.is_relative_to(HOME) else str(path)


if __name__ == "__main__":
    print(report())
