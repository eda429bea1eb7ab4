"""Time to import the library."""

import functools
import statistics
import subprocess
import sys
from collections.abc import Iterator

from experiments.benchmarks.measure import Entry, Settings, entry, times


def imports(settings: Settings) -> Iterator[Entry]:
    """Measure `import ddjax` in a new process; ratio is relative to importing its dependencies."""

    def run(statement: str) -> None:
        subprocess.run([sys.executable, "-c", statement], check=True)

    ours, base = (functools.partial(run, f"import {names}") for names in ("ddjax", "jax, flax, optax"))
    ours()  # compiles bytecode and fills the file cache
    own, theirs = (statistics.median(seconds) for seconds in times([ours, base], settings.repeats))
    yield entry("import", own, ratio=own / theirs)
    yield entry("import_base", theirs)
