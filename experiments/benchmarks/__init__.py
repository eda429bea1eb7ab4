"""Benchmarks by name. A benchmark is a function (Settings) -> entries."""

from collections.abc import Callable, Iterator, Mapping

from experiments.benchmarks import (
    compiling,
    convolution,
    dance,
    datm,
    experts,
    fleet,
    importing,
    judging,
    precision,
    pytorch,
    rcig,
    training,
)
from experiments.benchmarks.measure import Entry, Settings, gemm

BENCHMARKS: Mapping[str, Callable[[Settings], Iterator[Entry]]] = {
    "gemm": gemm,
    "compile": compiling.compilation,
    "conv": convolution.conv,
    "dance": dance.dance_step,
    "datm": datm.datm_step,
    "experts": experts.experts,
    "fleet": fleet.fleet,
    "import": importing.imports,
    "judge": judging.judged,
    "precision": precision.precision,
    "pytorch": pytorch.against_pytorch,
    "rcig": rcig.rcig_step,
    "train": training.train,
    "evaluate": training.evaluate,
}
