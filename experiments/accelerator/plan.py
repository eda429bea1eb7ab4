"""The jobs of a check-up."""

import os
import pathlib
import re
import sys
from collections.abc import Iterator

from experiments.accelerator.jobs import Job, Row

ROOT = pathlib.Path(__file__).parents[2]
SECTIONS = ("tests", "speed", "pytorch", "fleet", "cells")
STEPS = ("conv", "train", "datm", "dance", "rcig")
PLATFORMS = {"gpu": "cuda,cpu", "tpu": "tpu,cpu", "cpu": "cpu"}  # backend -> platforms of the tests
# backend -> policies that differ there, the default first
PRECISIONS = {
    "gpu": ("tensorfloat32", "float32"),
    "tpu": ("bfloat16_3x", "bfloat16", "float32"),
    "cpu": ("float32",),
}
MEMORY = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # several processes share the accelerator
TEST_WORKERS = 5
# method -> flags of its cell, small enough for about a minute
EXPERTS = "experts=2 expert_epochs=8 expert_batch=256 last_start=4 growth_steps=0 match_epochs=2 inner_steps=20"
CELLS = {
    "random": "",
    "herding": "",
    "dm": "--steps 300",
    "dance": "--steps 300 --options members=2 pool_epochs=3",
    "datm": f"--steps 60 --options {EXPERTS} step_size=0.01 image_rate=100.0 label_rate=5.0 step_size_rate=1e-7",
    "mtt": f"--steps 60 --options {EXPERTS}",
    "rcig": "--steps 100 --options batch=256",
    "frepo": "--steps 200",
    "kip": "--steps 200 --options kernel=conjugate",
    "full": "--epochs 10 --holdout 0 --students 1",
}
_VERDICT = re.compile(r"(PASSED|FAILED|ERROR|SKIPPED)")
_TEST = re.compile(r"tests/\S+?::\S+")


def machine(quick: bool) -> Job:
    """The first job: what the machine is, and its rates."""
    command = _bench(["gemm"], "--json", *(["--no-parts", "--repeats", "1"] if quick else []))
    return Job("machine", "gemm", command, 120, alone=True, env=MEMORY)


def jobs(images: str | None, out: pathlib.Path, backend: str, quick: bool, only: tuple[str, ...]) -> list[Job]:
    """The jobs of the chosen sections.

    Args:
      images: the data set of the cells; None is digits.
      out: directory of the cells' files.
      backend: of JAX, as the first job found it.
      quick: a few seconds of each section, to try the check-up itself.
      only: sections; empty for all.
    """
    makers = {
        "tests": lambda: tests(backend, quick),
        "speed": lambda: speed(backend, quick),
        "pytorch": lambda: in_each_precision("pytorch", backend, quick),
        "fleet": lambda: fleets(quick),
        "cells": lambda: cells(images, out, quick),
    }
    return [job for name in SECTIONS if not only or name in only for job in makers[name]()]


def tests(backend: str, quick: bool) -> Iterator[Job]:
    """The tests of accelerators."""
    command = [sys.executable, "-m", "pytest", str(ROOT / "tests/test_gpu.py"), "-m", "gpu", "-v", "--tb=short"]
    command += ["-p", "no:cacheprovider", "-o", "addopts=--strict-markers", "-o", "filterwarnings=default"]
    command += ["--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml")]
    own = dict(MEMORY, JAX_PLATFORMS=PLATFORMS[backend], COLUMNS="400")  # a summary line is cut there
    if backend == "cpu":
        own["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "false"  # else the tests have nothing to compare
    elif (os.cpu_count() or 1) > TEST_WORKERS:
        command += ["-n", str(TEST_WORKERS)]
    if quick:
        command += ["-k", "convolutions and 3x3"]
    yield Job("tests", "pytest -m gpu", command, 240, env=own, rows=verdicts)


def verdicts(output: str) -> list[Row]:
    """A row for each test, from the lines of `pytest -v`, so that a run that was stopped has rows as well."""
    found = {}
    for line in output.splitlines():
        test, verdict = _TEST.search(line), _VERDICT.search(line)
        if test and verdict:
            why = line.partition(" - ")[2]
            found[test[0]] = {"name": test[0].partition("::")[2], "verdict": verdict[1].lower(), "why": why}
    return list(found.values())


def speed(backend: str, quick: bool) -> Iterator[Job]:
    """Benchmarks of steps: compiled side by side into the cache, then loaded from there and timed."""
    if not quick:
        for precision in PRECISIONS[backend]:
            for name in STEPS:
                command = _bench([name], "--no-parts", "--repeats", "1", "--precision", precision, "--json")
                yield Job("compile", f"{name} {precision}", command, 240, env=MEMORY)
    yield from in_each_precision("speed", backend, quick)


def in_each_precision(section: str, backend: str, quick: bool) -> Iterator[Job]:
    """Timed benchmarks, a process for each precision."""
    names = ["pytorch"] if section == "pytorch" else ["gemm", *STEPS]
    for precision in PRECISIONS[backend]:
        sizes = ["--width", "4", "--batch", "8", "--repeats", "1"] if quick else ["--repeats", "10"]
        chosen = ["conv"] if quick and section == "speed" else names
        command = _bench(chosen, "--no-parts", "--precision", precision, "--json", *sizes)
        yield Job(section, f"{section} {precision}", command, 120, alone=True, env=MEMORY)


def fleets(quick: bool) -> Iterator[Job]:
    """A fleet of five against one run, compiled beside the other jobs and then timed."""
    command = _bench(["fleet"], "--json")
    if quick:
        return
    yield Job("compile", "fleet", [*command, "--repeats", "1"], 240, env=MEMORY)
    yield Job("fleet", "fleet of five", [*command, "--repeats", "10"], 120, alone=True, env=MEMORY)


def cells(images: str | None, out: pathlib.Path, quick: bool) -> Iterator[Job]:
    """An experiment of each method, with 40 % of labels wrong, scored by a few students."""
    common = [sys.executable, "-m", "experiments.one", "--dataset", images or "digits", "--noise", "symmetric"]
    common += ["--rate", "0.4", "--ipc", "1", "--json", "--quiet", "--out", str(out)]
    if images and not quick:
        common += ["--limit", "10000"]
    size = ["--epochs", "2", "--students", "1", "--width", "4"] if quick else ["--epochs", "300", "--students", "2"]
    for method, flags in CELLS.items():
        if not quick or method == "random":
            size_of = [] if method == "full" else size
            yield Job("cells", method, [*common, "--method", method, *size_of, *flags.split()], 240, env=MEMORY)


def _bench(names: list[str], *flags: str) -> list[str]:
    return [sys.executable, "-m", "experiments.bench", *names, *flags]
