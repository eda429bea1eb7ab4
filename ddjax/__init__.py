"""ddjax: dataset distillation under label noise, in pure JAX.

Public names and submodules are loaded when they are first used, so that importing ddjax is fast.
"""

import importlib
import importlib.util
from typing import Any

__version__ = "0.1.0.dev0"

_WHERE = {
    "ddjax.backend": ["targeting"],
    "ddjax.storage.checkpoints": ["Checkpoints"],
    "ddjax.data": ["Dataset", "load", "prepare", "synthetic", "to_space"],
    "ddjax.denoising": ["DenoiseReport", "denoise", "judge"],
    "ddjax.execution.distill": ["distill"],
    "ddjax.execution.options": ["RunOptions"],
    "ddjax.distilled": ["DistilledSet"],
    "ddjax.distillers": ["DISTILLERS"],
    "ddjax.evaluation": ["BASELINES", "PROTOCOLS", "dd_ranking", "evaluate", "train_full"],
    "ddjax.models": ["build"],
    "ddjax.noise": ["NoiseSpec"],
    "ddjax.distilled.saving": ["load_distilled", "save_distilled"],
    "ddjax.run": ["run_method"],
    "ddjax.training": ["Recipe", "fit"],
    "ddjax.types": ["Audit", "Distiller", "Feed", "Method", "Model", "TestSet", "TrainSet"],
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(_MODULE_OF[name]), name)
    if importlib.util.find_spec(f"ddjax.{name}"):
        return importlib.import_module(f"ddjax.{name}")
    raise AttributeError(f"module 'ddjax' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
