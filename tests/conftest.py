import gc
import os
import tempfile

# Set before JAX is imported, and in the environment, so that it holds for the processes that tests start as well.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
# Programs without the lines of Python that each operation comes from are lowered and compiled about 5 % faster.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
os.environ.setdefault("JAX_INCLUDE_FULL_TRACEBACKS_IN_LOCATIONS", "false")

import chex
import jax
import pytest
from faults_table import *  # noqa: F403
from faults_table import _said  # noqa: F401
from hypothesis import settings

from ddjax.precision import enable_x64
from experiments.display.cli import make_deterministic

# The suite spends most of its time in XLA's compiler, and these flags halve that. XLA ends a process that gives it a
# flag that it does not know, so they are limited to versions known to have them.
FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
OPTIMISED = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] != "true"
if os.environ["JAX_PLATFORMS"] != "cpu":
    make_deterministic()
elif not OPTIMISED and jax.__version_info__ < (0, 11) and FLAGS not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".strip()

# JAX keeps millions of objects alive, which each full collection walks: a tenth of the suite's time.
gc.set_threshold(100_000, 50, 100)

# the same examples each time; `--hypothesis-profile default` looks for new ones
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")
jax.enable_x64 = enable_x64  # JAX 0.7 has it elsewhere
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_disable_most_optimizations", not OPTIMISED)  # should a plugin have imported JAX first


def pytest_sessionstart(session):
    """Keep compiled programs in pytest's own cache: other workers, processes of tests and the next run read them.

    `pytest --cache-clear` compiles everything anew.
    """
    if cache := getattr(session.config, "cache", None):
        kept = {"jax_compilation_cache_dir": str(cache.mkdir("compiled"))}
        kept["jax_persistent_cache_min_compile_time_secs"] = 0.02
        os.environ.update({name.upper(): str(value) for name, value in kept.items()})
    else:
        kept = {"jax_enable_compilation_cache": False}  # it would be that of the user
    for name, value in kept.items():
        jax.config.update(name, value)


@pytest.fixture(autouse=True, scope="session")
def _temporary(tmp_path_factory):
    # pytest removes its own folders of earlier runs, and those of `mkdtemp` in docstrings' examples with them
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("temporary"))
    yield
    tempfile.tempdir = before


@pytest.fixture(autouse=True)
def _fresh_trace_counter():
    # chex counts traces by source text, and two closures from one factory share it
    chex.clear_trace_counter()


@pytest.fixture(params=["eager", "jit"])
def compiled(request):
    return jax.jit if request.param == "jit" else (lambda function: function)


@pytest.fixture
def double():
    """Double precision."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache directory of this test's own."""
    monkeypatch.setenv("DDJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
