"""Programs are lowered for platforms that this machine does not have; `pytest -n 0 -m tpu` compiles them for a TPU."""

import importlib.util

import pytest

from ddjax.backend import targeting
from experiments.benchmarks.compiling import PLATFORMS, compiled
from experiments.benchmarks.measure import Settings
from experiments.benchmarks.programs import METHODS, every

PROGRAMS = dict(every())
GIB = 16  # of a v5e core
LIGHT = ("datm init", "kip conjugate step")  # quick to lower, and each of another kind


def of(name, platform, cores=1):
    with targeting(PLATFORMS[platform]):
        return compiled(name, PROGRAMS[name](), platform, cores)


@pytest.mark.parametrize("name", [n if n in LIGHT else pytest.param(n, marks=pytest.mark.slow) for n in PROGRAMS])
def test_programs_are_exported_for_cuda(name):
    found = of(name, "cuda")
    if name.endswith(("step", "train", "judge")):
        assert found["convolutions"] + found["dots"] > 0


def test_a_program_is_compiled_for_this_machine():
    found = of("dance init", "cpu")
    assert found["backend"] == "cpu" and found["compile_s"] > 0 and found["all_gib"] < 1


def test_a_wrong_platform_is_refused():
    from experiments.benchmarks.compiling import compilation

    with pytest.raises(ValueError, match=r"unknown platform 'gpu'; known: cpu, cuda, tpu"):
        next(compilation(Settings(platform="gpu")))


without = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the extra `tpu`")


@without
@pytest.mark.tpu
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_fit_a_tpu_core(name):
    found = of(name, "tpu")
    assert found["all_gib"] < GIB and found["mega_cycles"] > 0, found


@without
@pytest.mark.tpu
@pytest.mark.parametrize("name", ["rcig", "dance"])
def test_steps_are_divided_among_tpu_cores(name):
    with targeting("tpu"):
        found = compiled(name, METHODS[name]()["step"], "tpu", 4)
    assert found["collectives"] and found["all_gib"] < GIB, found
