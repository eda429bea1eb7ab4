"""The jobs of a check-up."""

import functools
import json
import os
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ddjax.storage.files import remove
from experiments.accelerator.jobs import FAILED, Job, Row

ROOT = pathlib.Path(__file__).parents[2]
STEPS = ("conv", "train", "datm", "dance", "rcig")
FLEETS = ("fleet_dance", "fleet_datm", "fleet_rcig")
# section -> benchmarks whose programs are compiled first, those that are timed, and those of a quick check-up
TIMED = {
    "speed": (STEPS, ("gemm", *STEPS), ("conv",)),
    "pytorch": (("train", "datm", "dance"), ("pytorch",), ("pytorch",)),
    "fleet": (FLEETS, FLEETS, FLEETS[:1]),
}
SECTIONS = ("tests", *TIMED, "cells")
PLATFORMS = {"gpu": "cuda,cpu", "tpu": "tpu,cpu", "cpu": "cpu"}  # backend -> platforms of the tests
# backend -> policies that differ there, the default first
PRECISIONS = {"gpu": ("tensorfloat32", "float32"), "tpu": ("bfloat16", "bfloat16_3x", "float32"), "cpu": ("float32",)}
MEMORY = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # several processes share the accelerator
BESIDE = MEMORY | {"OPENBLAS_NUM_THREADS": "4"}  # and the cores
TEST_WORKERS, WORKERS = 4, 7  # processes of the tests, and jobs at a time
EVERYWHERE = {"epochs": 300, "students": 2}
EXPERTS = ["experts=2", "expert_epochs=8", "expert_batch=256", "last_start=4", "growth_steps=0", "match_epochs=2"]
EXPERTS += ["inner_steps=20"]
# groups of methods, each a process, whose programs and preprocessing are alike; method -> its settings
CELLS: tuple[dict[str, dict[str, Any]], ...] = (
    {
        "random": {},
        "dance": {"steps": 300, "options": ["members=2", "pool_epochs=3"]},
        "full": {"epochs": 10, "students": 1, "holdout": 0.0},
        "dm": {"steps": 300},
        "ncfm": {"steps": 200},
        "herding": {},
    },
    {
        "datm": {
            "steps": 60,
            "options": [*EXPERTS, "step_size=0.01", "image_rate=100.0", "label_rate=5.0", "step_size_rate=1e-7"],
        },
        "mtt": {"steps": 60, "options": EXPERTS},
    },
    {
        "rcig": {"steps": 100, "options": ["batch=256"]},
        "kip": {"steps": 200, "options": ["kernel=conjugate"]},
        "frepo": {"steps": 200},
    },
)
_VERDICT = re.compile(r"(PASSED|FAILED|ERROR|SKIPPED)")
_TEST = re.compile(r"tests/\S+?::\S+")


def machine(quick: bool) -> Job:
    """The first job: what the machine is, and its rates."""
    command = _bench("gemm", "--json", *(["--no-parts", "--repeats", "1"] if quick else []))
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
        **{section: functools.partial(timed, section, backend, quick) for section in TIMED},
        "cells": lambda: cells(images, out, quick),
    }
    made = [job for name in SECTIONS if not only or name in only for job in makers[name]()]
    once = {(job.section, job.name): job for job in made}  # two sections may compile the same program
    return sorted(once.values(), key=lambda job: job.section == "compile")  # the long jobs begin first


def tests(backend: str, quick: bool) -> Iterator[Job]:
    """The tests of accelerators."""
    command = [sys.executable, "-m", "pytest", str(ROOT / "tests/test_gpu.py"), "--rootdir", str(ROOT)]
    command += ["-c", str(ROOT / "pyproject.toml"), "-m", "gpu", "-v", "--tb=short", "-p", "no:cacheprovider"]
    command += ["-p", "no:benchmark", "-o", "addopts=--strict-markers", "-o", "filterwarnings=default"]
    own = dict(MEMORY, JAX_PLATFORMS=PLATFORMS[backend], COLUMNS="400")  # a summary line is cut there
    if backend == "cpu":
        own["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "false"  # else the tests have nothing to compare
    elif (os.cpu_count() or 1) > TEST_WORKERS:
        command += ["-n", str(TEST_WORKERS), "--dist", "loadgroup"]
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


def timed(section: str, backend: str, quick: bool) -> Iterator[Job]:
    """Benchmarks: their programs are compiled side by side, which shows how long that takes, then each is timed alone.

    Speed is measured in each precision, the other sections in the default one.
    """
    compiled, names, few = TIMED[section]
    sizes, precisions = ["--repeats", "10"], PRECISIONS[backend] if section == "speed" else PRECISIONS[backend][:1]
    if quick:
        compiled, names, sizes = (), few, ["--width", "4", "--batch", "8", "--repeats", "1"]
        precisions = precisions[:1]
    for precision in precisions:
        how = ["--no-parts", "--precision", precision, "--json"]
        for name in compiled:
            yield Job("compile", f"{name} {precision}", _bench(name, *how, "--repeats", "1"), 240, env=BESIDE)
        command = _bench(*names, *how, *sizes)
        yield Job(section, f"{' '.join(names)} {precision}", command, 120, alone=True, env=MEMORY)


def cells(images: str | None, out: pathlib.Path, quick: bool) -> Iterator[Job]:
    """An experiment of each method, with 40 % of labels wrong, scored by a few students."""
    everywhere = EVERYWHERE | ({"epochs": 2, "students": 1, "width": 4} if quick else {})
    axes = {"datasets": [images or "digits"], "noises": [["symmetric", 0.4]], "ipc": [1], "seeds": [0]}
    for number, own in enumerate(CELLS):
        names = ["random"] if quick else list(own)
        tables = {"everywhere": everywhere} | {f"of_method.{name}.0": own[name] for name in names}
        folder = out / f"cells-{number}"
        remove(folder)  # a sweep would not run the cells of an earlier check-up again
        folder.mkdir(parents=True)
        (folder / "grid.toml").write_text(as_toml(axes | {"methods": names}, tables))
        command = [sys.executable, "-m", "experiments.sweep", "--config", str(folder / "grid.toml"), "--quiet"]
        command += ["--out", str(folder), "--workers", "1"]
        yield Job("cells", ", ".join(names), command, 240, env=BESIDE, rows=functools.partial(stored, folder))
        if quick:
            return


def as_toml(values: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Settings as TOML; numbers, strings and lists are written as in JSON."""
    lines = []
    for title, own in {"": values, **tables}.items():
        lines += ["", f"[{title}]"] if title else []
        lines += [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in own.items()]
    return "\n".join(lines) + "\n"


def stored(folder: pathlib.Path, output: str) -> list[Row]:
    """The rows of a sweep, so that one that was stopped has rows as well; a cell that failed says why."""
    del output
    rows = [json.loads(path.read_text()) for path in sorted((folder / "runs").glob("*/row.json"))]
    return [row | ({} if row["status"] == "done" else {FAILED: row.get("reason", row["status"])}) for row in rows]


def _bench(*words: str) -> list[str]:
    return [sys.executable, "-m", "experiments.bench", *words]
