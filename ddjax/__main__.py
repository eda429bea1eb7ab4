"""What is installed here, what it computes on, and where it keeps things: `python -m ddjax`."""

import importlib.metadata
import os
import pathlib
import re

from ddjax.data import loading
from ddjax.storage import files
from ddjax.storage import rows as results

HOME = pathlib.Path.home()


def report() -> str:
    """A line for each fact; nothing is written, and neither TensorFlow nor neural-tangents is loaded."""
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
        ("extras", _extras()),
        ("next", "python -m experiments.one, or experiments.data check NAME for what a data set needs"),
    ]
    return "\n".join(f"{name:<9} {fact}" for name, fact in facts)


def _devices() -> list[tuple[str, str]]:
    import jax

    precision = jax.config.jax_default_matmul_precision or "float32"
    unused = [] if jax.default_backend() != "cpu" else _accelerators()
    return [
        ("devices", f"{results.hardware()}, backend {jax.default_backend()}, products in {precision}"),
        *(("", f"{what}, but this jax cannot use it: pip install -e '.[{extra}]'") for what, extra in unused),
    ]


def _accelerators() -> list[tuple[str, str]]:
    """Accelerators whose device files are there while jax computes on the CPU: (what, the extra that drives it)."""
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
    return [("cache", f"{_place(root)} ($DDJAX_CACHE)"), ("compiled", f"{_place(compiled)} (of commands)")]


def _extras() -> str:
    """Which optional parts are complete."""
    names = importlib.metadata.metadata("ddjax").get_all("Provides-Extra") or []
    have = [name for name in names if _complete("ddjax", name)]
    lack = [name for name in names if name not in have]
    return f"{', '.join(have) or 'none'}; not installed: {', '.join(lack) or 'none'}"


def _complete(package: str, extra: str) -> bool:
    """Whether all that `package[extra]` asks for is installed; versions are pip's business."""
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
