"""ddjax: dataset distillation under label noise, in pure JAX.

The front door is a list of names; each is loaded when it is first used, so importing ddjax costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0.dev0"

_WHERE = {
    "TrainSet": "ddjax.types",
    "TestSet": "ddjax.types",
    "Audit": "ddjax.types",
    "Model": "ddjax.types",
    "Distiller": "ddjax.types",
    "Method": "ddjax.types",
    "Feed": "ddjax.types",
}

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'ddjax' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
