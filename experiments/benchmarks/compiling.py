"""Compilation of every program at its published sizes, for this machine or for an accelerator that it does not have.

A TPU's compiler runs without a TPU: the extra `tpu` installs it. For an NVIDIA GPU, programs are lowered and exported.
Seconds are those of this process's processors, so that other load does not count.
"""

import functools
import importlib.util
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax import export
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ddjax.backend import compiler_options, targeting
from ddjax.execution.devices import PARTS
from ddjax.execution.mesh import shard_batch
from ddjax.names import choose
from ddjax.precision import asked
from experiments.benchmarks.measure import Entry, Settings
from experiments.benchmarks.programs import METHODS, Program, every

PLATFORMS = {"cpu": "cpu", "cuda": "gpu", "tpu": "tpu"}  # of JAX's lowering -> of a trace
TOPOLOGIES = {1: ("v5e:1x1", (1, 1, 1)), 4: ("v5e:2x2", (2, 2, 1))}  # cores -> name and chips of a host
OPERATIONS = {"convolutions": "convolution", "dots": "dot_general"}  # a GPU's stacks of convolutions are products
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


@functools.cache
def tpu_mesh(cores: int) -> Mesh:
    """A mesh of TPU cores that this machine need not have.

    Raises:
      ModuleNotFoundError: libtpu is not installed.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise ModuleNotFoundError("the TPU's compiler is not installed: pip install -e '.[tpu]'", name="libtpu")
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # do not look for a TPU
    from jax.experimental import topologies

    name, chips = TOPOLOGIES[cores]
    found = topologies.get_topology_desc(
        name, platform="tpu", chips_per_host_bounds=chips, chip_config_name="default", num_slices=1
    )
    return Mesh(np.array(found.devices), (PARTS,))


def compiled(name: str, program: Program, platform: str, cores: int = 1) -> Entry:
    """Compile a program for a platform, or export it for one without a compiler here.

    Args:
      name: of the row.
      program: a function and its abstract arguments.
      platform: cpu, cuda or tpu.
      cores: of a TPU; a step's batch is divided among several.

    Returns:
      Processor seconds to trace, lower and compile; numbers of operations; GiB of temporary and of all memory; and for
      a TPU the cycles that its compiler estimates, with the body of a loop counted once.
    """
    function, arguments = program.function, program.arguments
    if platform == "tpu":
        mesh = tpu_mesh(cores)
        where = NamedSharding(mesh, PartitionSpec())
        arguments = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=where), arguments)
        if cores > 1:
            function = functools.partial(_divided, mesh, program)
    start, options = time.process_time(), dict(compiler_options(program.steps))
    jitted = jax.jit(lambda *a: function(*a), donate_argnums=0 if program.donated else (), compiler_options=options)
    asked_effort = getattr(jax.config, "jax_exec_time_optimization_effort", 0.0)  # JAX 0.12 has no such setting
    row: Entry = {
        "name": name,
        "backend": platform,
        "gflop": None,
        "policy": asked(),
        "effort": options.get("exec_time_optimization_effort", asked_effort),
        "devices": cores,
    }
    if platform == "cuda":
        text, executable = export.export(jitted, platforms=["cuda"])(*arguments).mlir_module(), None
    else:
        lowered = jitted.lower(*arguments)
        text, executable = lowered.as_text(), lowered.compile()
    row["compile_s"] = time.process_time() - start
    row |= {name: text.count(f"stablehlo.{op}") for name, op in OPERATIONS.items()} | {"lines": text.count("\n")}
    if executable is not None:
        row |= _memory(executable)
    if platform == "tpu":
        row |= _estimates(executable.as_text(), cores)
    return row


def _divided(mesh: Mesh, program: Program, state: Any, batch: Any) -> Any:
    whole = NamedSharding(mesh, PartitionSpec())
    return jax.lax.with_sharding_constraint(program.function(state, shard_batch(mesh, batch, program.split)), whole)


def _memory(executable: Any) -> Entry:
    found = executable.memory_analysis()
    temporary, held = found.temp_size_in_bytes, found.argument_size_in_bytes + found.output_size_in_bytes
    return {"temporary_gib": temporary / 2**30, "all_gib": (temporary + held - found.alias_size_in_bytes) / 2**30}


def _estimates(text: str, cores: int) -> Entry:
    cycles = sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', text)))
    collectives = len(re.findall(rf" = .* (?:{'|'.join(COLLECTIVES)})(?:-start)?\(", text))
    return {"mega_cycles": cycles / 1e6, "collectives": collectives if cores > 1 else None}


def compilation(settings: Settings) -> Iterator[Entry]:
    """Compile every program for one device; for a TPU, also each step that four cores divide among them."""
    with targeting(choose(PLATFORMS, settings.platform, "platform")):
        for name, make in every():
            if settings.only in name:
                yield compiled(name, make(), settings.platform)
        for name in ("rcig", "dance") if settings.platform == "tpu" else ():
            if settings.only in f"{name} step of four":
                yield compiled(f"{name} step of four", METHODS[name]()["step"], "tpu", 4)
