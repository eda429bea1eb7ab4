"""neural-tangents on the installed JAX: it imports, works, and leaves no trace."""

import subprocess
import sys

from ddjax.kernels import tangent

SCRIPT = """
import concurrent.futures, sys
import ddjax, ddjax.kernels.infinite, jax, jax.core, jax.random, jax.interpreters.ad
from ddjax.kernels import tangent

# without a name that neural-tangents needs
lent = dict(tangent.MOVED)
for key, says in [(("jax.core", "Jaxpr"), "Jaxpr"), (("jax.interpreters.ad", "zeros_like_p"), "zeros_like_p")]:
    del tangent.MOVED[key]
    try:
        tangent.load()
    except ImportError as error:
        text = str(error)
    assert says in text and jax.__version__ in text and "0.6" in text and "MOVED" in text, text
    assert not any(name.startswith("neural_tangents") for name in sys.modules), "partly imported, or imported before"
    assert not hasattr(jax.core, "Var"), "a lent name was left behind"
    tangent.MOVED.update(lent)
public = jax.extend.core.Var
del jax.extend.core.Var  # what is lent is missing itself
try:
    tangent.load()
except ImportError as error:
    text = str(error)
assert "'Var'" in text, text
jax.extend.core.Var = public

# with all names
places = {name: dict(vars(sys.modules[name])) for name in ("jax.core", "jax.interpreters.ad", "jax.random")}
had_util = sys.modules.get("jax.util")
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    modules = list(pool.map(lambda _: tangent.load(), range(8)))
assert len({id(module) for module in modules}) == 1 and modules[0].__version__.startswith("0.6")
assert "tensorflow" not in sys.modules and "jax.experimental.jax2tf" not in sys.modules
for name, before in places.items():
    assert dict(vars(sys.modules[name])) == before, name
assert sys.modules.get("jax.util") is had_util
assert "neural_tangents.experimental" not in sys.modules and not hasattr(modules[0], "experimental")
"""


def test_loading_leaves_no_trace_and_names_what_is_missing():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_absent_package_says_how_to_get_it(monkeypatch):
    from importlib import metadata

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert "pip install" in tangent._explained(ModuleNotFoundError("neural_tangents"))
