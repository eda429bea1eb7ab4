"""A part of the suite with XLA's optimisations, which users have; the rest compiles without them, to be quick."""

import re

import processes
import pytest

PART = "steps and (datm or rcig) or convolutions or ridge"  # the other methods compute what these do


@pytest.mark.parametrize(
    ("part", "count"), [(PART, 7), pytest.param("test", 33, marks=pytest.mark.slow)], ids=["part", "whole"]
)
def test_optimised_programs_give_the_numbers_of_unoptimised_ones(part, count):
    own = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "false", "XLA_FLAGS": ""}
    words = ["-m", "pytest", "-n", "0", "-q", "-m", "gpu", "-k", part, processes.HERE / "test_gpu.py"]
    passed = re.search(r"(\d+) passed", processes.ended(processes.start(*words, **own)))
    assert int(passed[1]) >= count  # the rest of the whole needs an accelerator
