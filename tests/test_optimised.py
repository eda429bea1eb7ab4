"""A part of the suite with XLA's optimisations, which users have; the rest compiles without them, to be quick."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PART = "steps and (datm or rcig) or convolutions or ridge"  # the other methods compute what these do


@pytest.mark.parametrize(
    ("part", "count"), [(PART, 7), pytest.param("test", 29, marks=pytest.mark.slow)], ids=["part", "whole"]
)
def test_optimised_programs_give_the_numbers_of_unoptimised_ones(part, count):
    own = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "false", "XLA_FLAGS": ""}
    words = ["-m", "pytest", "-n", "0", "-q", "-m", "gpu", "-k", part, "tests/test_gpu.py"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=os.environ | own, capture_output=True, text=True)
    assert done.returncode == 0 and f"{count} passed" in done.stdout, done.stdout
