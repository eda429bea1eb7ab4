import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import chex
import jax
import pytest
from faults_table import *  # noqa: F403
from faults_table import _said  # noqa: F401
from hypothesis import settings

# the same examples each time; `--hypothesis-profile default` looks for new ones
settings.register_profile("steady", derandomize=True)
settings.load_profile("steady")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(autouse=True)
def _fresh_trace_counter():
    # chex counts traces by source text, and two closures from one factory share it
    chex.clear_trace_counter()


@pytest.fixture(params=["eager", "jit"])
def compiled(request):
    return jax.jit if request.param == "jit" else (lambda function: function)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache directory of this test's own."""
    monkeypatch.setenv("DDJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
