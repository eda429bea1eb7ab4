"""Imports neural-tangents, whose last release targets a JAX of 2023, on current JAX.

`load()` imports neural-tangents 0.6.5 or later. During the import it adds the names in `MOVED` to the places where
neural-tangents looks for them, and removes them afterwards: JAX stays unchanged. Only the infinite-width kernels
(`neural_tangents.stax`) are used; `kernels.finite` needs JAX alone.
"""

import contextlib
import importlib
import sys
import threading
import types
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import jax
import jax.extend.core

PACKAGE = "neural_tangents"
_LOCK = threading.RLock()
_loaded: list[types.ModuleType] = []


def _core(name: str) -> Callable[[], Any]:
    return lambda: getattr(jax.extend.core, name)


def _util() -> types.ModuleType:
    # the contents of jax.util: map and zip that require equal lengths and return lists
    util = types.ModuleType("jax.util")
    util.safe_map = lambda f, *args: [f(*row) for row in zip(*args, strict=True)]
    util.safe_zip = lambda *args: list(zip(*args, strict=True))
    return util


# (module, name) -> what module.name is during the import; a name of None stands for the module itself
MOVED: dict[tuple[str, str | None], Callable[[], Any]] = {
    # five classes of the jaxpr language that moved from jax.core to jax.extend.core; bound by `from jax.core import`
    ("jax.core", "Jaxpr"): _core("Jaxpr"),
    ("jax.core", "JaxprEqn"): _core("JaxprEqn"),
    ("jax.core", "Literal"): _core("Literal"),
    ("jax.core", "Primitive"): _core("Primitive"),
    ("jax.core", "Var"): _core("Var"),
    # removed without a replacement; bound by `from jax.util import`
    ("jax.util", None): _util,
    # a primitive that JAX no longer emits: a key of two rule tables, for which any new primitive works
    ("jax.interpreters.ad", "zeros_like_p"): lambda: jax.extend.core.Primitive("zeros_like"),
    # its import loads TensorFlow and jax2tf, and nothing here uses it
    (f"{PACKAGE}.experimental", None): lambda: types.ModuleType(f"{PACKAGE}.experimental"),
}


def load() -> types.ModuleType:
    """The module `neural_tangents`, imported on the first call.

    Returns:
      The module, with `neural_tangents.stax` imported.

    Raises:
      ImportError: the package is not installed, or it needs a name that this JAX lacks; the message says which.
    """
    with _LOCK:
        if not _loaded:
            _loaded.append(_import())
        return _loaded[0]


def _import() -> types.ModuleType:
    before = {name for name in sys.modules if name.split(".")[0] == PACKAGE}
    try:
        with _lent():
            package = importlib.import_module(PACKAGE)
            importlib.import_module(f"{PACKAGE}.stax")
        if not before:
            vars(package).pop("experimental", None)  # the stand-in, bound by `from . import experimental`
    except Exception as error:
        for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE and name not in before]:
            del sys.modules[name]  # partially imported: the next attempt starts again
        raise ImportError(_explained(error), name=PACKAGE) from error
    return package


def _explained(error: Exception) -> str:
    try:
        version = metadata.version("neural-tangents")
    except metadata.PackageNotFoundError:
        return (
            "kernels of infinite width need neural-tangents, which is not installed: pip install "
            "'neural-tangents>=0.6.5'. KIP does without it with kernel='conjugate'"
        )
    return (
        f"neural-tangents {version} cannot be imported on jax {jax.__version__}: {type(error).__name__}: {error}. "
        "It needs a name that this JAX has moved or removed: add the name to MOVED in ddjax/kernels/tangent.py, or "
        "install a JAX version that is known to work, such as 0.10"
    )


@contextlib.contextmanager
def _lent() -> Iterator[None]:
    """A context in which every name of `MOVED` is in its old place. On exit the places are as they were."""
    undo: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for (module, name), make in MOVED.items():
            place = sys.modules if name is None else vars(importlib.import_module(module))
            key = module if name is None else name
            thing = make()
            undo.append((place, key, place.get(key, undo)))
            place[key] = thing
        yield
    finally:
        for place, key, old in reversed(undo):
            if old is undo:  # there was nothing
                del place[key]
            else:
                place[key] = old
