"""Benchmark of an NCFM iteration: random data of CIFAR-10's shape, 128 images per class, factor 2, both samplers."""

from collections.abc import Iterator

from ddjax.distillers import ncfm
from ddjax.distillers.ncfm.config import NcfmConfig
from experiments.benchmarks.dance import IPC, first
from experiments.benchmarks.measure import Entry, Settings, measure
from experiments.benchmarks.rcig import going_on


def ncfm_step(settings: Settings) -> Iterator[Entry]:
    """Measure a step at 1 and at 10 images per class, with Gaussian frequencies and with the sampling network."""
    for ipc in IPC:
        for sampler in ("gaussian", "learned"):
            case = first(settings, ipc, NcfmConfig, ncfm.build, sampler=sampler)
            call = going_on(case.distiller, case.state, case.batch)
            yield measure(f"ncfm step, ipc {ipc}, {sampler}", call, None, settings.repeats)
