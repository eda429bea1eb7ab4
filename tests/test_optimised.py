"""The GPU's tests on a CPU with XLA's optimisations, which users have; the suite compiles without them, to be quick."""

import re

import processes
import pytest


@pytest.mark.slow
def test_optimised_programs_give_the_numbers_of_unoptimised_ones():
    own = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "false", "XLA_FLAGS": ""}
    words = ["-m", "pytest", "-n", "0", "-q", "-m", "gpu", processes.HERE / "test_gpu.py"]
    passed = re.search(r"(\d+) passed", processes.ended(processes.start(*words, **own)))
    assert int(passed[1]) >= 33  # the rest needs an accelerator
