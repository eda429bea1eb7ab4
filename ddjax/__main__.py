"""Check this installation: versions, devices and their speed, data, caches, missing packages: `python -m ddjax`."""

import contextlib
import importlib.metadata
import os
import pathlib
import re
import sys
import tomllib

from ddjax import machine
from ddjax.backend import target
from ddjax.data import loading
from ddjax.precision import asked
from ddjax.storage import files
from ddjax.storage import rows as results

HOME = pathlib.Path.home()
ROOT = pathlib.Path(__file__).parents[1]
SLOW = 0.4  # share of the published rate below which something is wrong with a device
# package that is needed for a part only -> what needs it
TFDS = "data sets of TFDS, such as cifar10, unless their decoded images are in the cache"
NEEDED_BY = {
    "neural-tangents": "method kip with kernel ntk or nngp",
    "tensorflow-datasets": TFDS,
    "importlib_resources": TFDS,
}
# extra -> what needs it
NEEDED_FOR = {
    "denoise": "experiments.denoise with --compare, and the methods cleanlab and prune+METHOD",
    "ray": "experiments.sweep --executor ray",
    "slurm": "experiments.sweep --executor slurm",
    "tensorboard": "--tensorboard of experiments.one and experiments.sweep",
    "notebooks": "the notebooks",
    "cuda": "NVIDIA GPUs",
    "tpu": "TPUs; without one, bench compile and pytest -m tpu",
    "hf": "experiments.denoise with a folder of the package datasets, or --export hf",
    "embed": "experiments.denoise --embed",
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
        *_speed(),
        *_data(),
        *_caches(),
        *_packages(),
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


def _speed() -> list[tuple[str, str]]:
    """Measured rates, beside those of the data sheet where the device is known."""
    cpu, sheet = target() == "cpu", machine.published()
    side = 1024 if cpu else None
    lines = []
    # the default is what networks use; float32 is what kernels and solves use
    for name in dict.fromkeys((asked(), "float32")):
        should = sheet and sheet.products.get(name)
        lines.append(_rate(f"products in {name}", machine.rate(name, side), should, "FLOP/s"))
    lines.append(_rate("memory", machine.bandwidth(), sheet and sheet.memory, "B/s"))
    return [("speed" if i == 0 else "", line) for i, line in enumerate(lines)]


def _rate(what: str, found: float, should: float | None, unit: str) -> str:
    """A measured rate in words, with advice if it is far below the published one."""
    shown = f"{what} {_in_units(found)}{unit}"
    if should is None:
        return shown
    slow = found < SLOW * should
    advice = ": slow; another process may use the device, or it is throttled" if slow else ""
    return f"{shown}, {found / should:.0%} of the published {_in_units(should)}{unit}{advice}"


def _in_units(number: float) -> str:
    scale, prefix = (1e12, "T") if number >= 1e12 else (1e9, "G")
    return f"{number / scale:.3g} {prefix}"


def _accelerators() -> list[tuple[str, str]]:
    """Accelerators that JAX does not use although their device files exist: (name, extra with the driver)."""
    if "cpu" in os.environ.get("JAX_PLATFORMS", ""):
        return []
    seen = [("an NVIDIA GPU", "cuda", "/dev/nvidia0"), ("a TPU", "tpu", "/dev/accel0")]
    return [(what, extra) for what, extra, device in seen if pathlib.Path(device).exists()]


def _data() -> list[tuple[str, str]]:
    root = files.data_dir()
    there = {name: place for name in loading.NAMES if (place := loading.whereabouts(name, root))}
    missing = [name for name in loading.NAMES if name not in there]
    ready = [name if name == "digits" else f"{name} ({_size(pathlib.Path(place))})" for name, place in there.items()]
    return [
        ("data", f"{_place(root)} ($TFDS_DATA_DIR)"),
        ("", f"ready: {', '.join(ready)}"),
        ("", f"not there: {', '.join(missing) or 'none'}"),
    ]


def _caches() -> list[tuple[str, str]]:
    root = files.cache_dir()
    compiled = pathlib.Path(os.environ.get("JAX_COMPILATION_CACHE_DIR", root / "compiled"))
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    parts = [f"{path.name} {_size(path)}" for path in folders]
    return [
        ("cache", f"{_place(root)} ($DDJAX_CACHE){': ' if parts else ''}{', '.join(parts)}"),
        ("compiled", f"{_place(compiled)} (programs)"),
    ]


def _size(place: pathlib.Path) -> str:
    """The size of a file, or of all files below a folder; files that disappear meanwhile do not count."""
    below = [os.path.join(where, name) for where, _, names in os.walk(place) for name in names]
    total = 0
    for path in [place] if place.is_file() else below:
        with contextlib.suppress(OSError):
            total += os.lstat(path).st_size
    return f"{total / 2**30:.1f} GiB" if total >= 2**30 else f"{total / 2**20:.0f} MiB"


def _packages() -> list[tuple[str, str]]:
    """Required packages that are not installed, with what needs them."""
    lack = [line for line in _requirements("ddjax") if "extra ==" not in line and not _installed(line)]
    return [
        ("" if i else "missing", f"{_name(line)}, for {NEEDED_BY.get(_name(line), 'everything')}: pip install '{line}'")
        for i, line in enumerate(lack)
    ]


def _extras() -> list[tuple[str, str]]:
    """Installed extras, then one line per missing extra with what needs it."""
    runs = {"gpu": "cuda", "tpu": "tpu"}.get(target())  # a driver of another version than the extra's serves as well
    have = [name for name in NEEDED_FOR if name == runs or _complete("ddjax", name)]
    lack = [name for name in NEEDED_FOR if name not in have]
    lines = [("extras", f"installed: {', '.join(have) or 'none'}")]
    if lack:
        lines.append(("", "not installed; pip install -e '.[NAME]' with one of these names:"))
        lines += [("", f"  {name:<11} for {NEEDED_FOR[name]}") for name in lack]
    return lines


def _requirements(package: str) -> list[str]:
    """The requirements of an installed package, or of a checkout of ddjax that is not installed."""
    try:
        return importlib.metadata.requires(package) or []
    except importlib.metadata.PackageNotFoundError:
        if package != "ddjax" or not (ROOT / "pyproject.toml").is_file():
            raise
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].items()
    return project["dependencies"] + [f"{line}; extra == '{extra}'" for extra, lines in extras for line in lines]


def _name(line: str) -> str:
    return re.match(r"[\w.-]+", line)[0]


def _installed(line: str) -> bool:
    """Whether the package of a requirement is installed, in any version."""
    try:
        importlib.metadata.version(_name(line))
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _complete(package: str, extra: str) -> bool:
    """Whether all packages of `package[extra]` are installed, in any version."""
    own = [line for line in _requirements(package) if re.search(rf"extra == ['\"]{extra}['\"]", line)]
    for line in own:
        inner = re.match(r"[\w.-]+\[([\w-]+)\]", line)
        if not _installed(line) or (inner and not _complete(_name(line), inner[1])):
            return False
    return True


def _place(path: pathlib.Path) -> str:
    return _short(path) + ("" if path.is_dir() else ", not made yet")


def _short(path: pathlib.Path) -> str:
    return f"~/{path.relative_to(HOME)}" if path.is_relative_to(HOME) else str(path)


def main() -> None:
    """Print the facts, or why JAX has no device."""
    try:
        target()
    except (AssertionError, RuntimeError) as error:  # JAX raises the one or the other
        asked, why = os.environ.get("JAX_PLATFORMS", ""), str(error) or "it does not say why"
        sys.exit(
            f"JAX has no device for JAX_PLATFORMS={asked!r} ({why}): unset it, or install the driver and jax for it, "
            "pip install -e '.[cuda]' or '.[tpu]'"
        )
    print(report())


if __name__ == "__main__":
    main()
