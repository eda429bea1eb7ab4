"""Benchmarks by name. A benchmark is a function (Settings) -> entries."""

import functools
from collections.abc import Callable, Iterator, Mapping

from experiments.benchmarks import (
    compiling,
    convolution,
    dance,
    datm,
    experts,
    features,
    fleet,
    growth,
    importing,
    judging,
    memory,
    precision,
    pytorch,
    rcig,
    training,
    vectors,
)
from experiments.benchmarks.measure import Entry, Settings, gemm

BENCHMARKS: Mapping[str, Callable[[Settings], Iterator[Entry]]] = {
    "gemm": gemm,
    "compile": compiling.compilation,
    "conv": convolution.conv,
    "dance": dance.dance_step,
    "datm": datm.datm_step,
    "experts": experts.experts,
    "features": features.features,
    **{name: functools.partial(growth.measured, name) for name in growth.PROBLEMS},
    "import": importing.imports,
    "judge": judging.judged,
    "memory": memory.memory,
    "ncfm": dance.ncfm_step,
    "precision": precision.precision,
    "pytorch": pytorch.against_pytorch,
    "rcig": rcig.rcig_step,
    "train": training.train,
    "evaluate": training.evaluate,
    "vectors": vectors.vectors,
    **{f"fleet_{name}": functools.partial(fleet.fleet, name) for name in fleet.METHODS},
}
