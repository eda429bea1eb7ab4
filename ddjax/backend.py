"""The platform for which programs are traced. No other module asks for a backend.

Some choices belong to a platform: whether members of a group run in parallel, how many images a step holds at once,
how exact products are. These choices are made while JAX traces a program, so the platform is a value of the trace. It
is part of the keys of JAX's caches: one function is traced once for each platform.
"""

import contextlib

import jax

from ddjax.names import check_known

PLATFORMS = ("cpu", "gpu", "tpu")
# of a TPU's compiler: below this number of steps, the search at this effort and the run take the least time together
EFFORTS = ((300, -1.0), (5_000, -0.5))
_named = jax.make_user_context(None)


def target() -> str:
    """The platform of the current trace: cpu, gpu or tpu.

    Outside of `targeting` it is that of the default device. A program for another device of this machine is therefore
    traced under `jax.default_device(device)`, or under `targeting`.

    Returns:
      The platform. Plugins of other makers have their own names.

    Example:
      >>> with targeting("tpu"):
      ...     target()
      'tpu'
    """
    if _named.value is not None:
        return _named.value
    device = jax.config.jax_default_device
    if device is None:
        return jax.default_backend()
    return {"cuda": "gpu", "rocm": "gpu"}.get(device, device) if isinstance(device, str) else device.platform


def targeting(platform: str) -> contextlib.AbstractContextManager:
    """A context in which programs are traced for a platform, which this machine need not have.

    A program for another machine is lowered or exported inside the context, with `jax.jit(f).lower` for a topology or
    with `jax.export`.

    Args:
      platform: cpu, gpu or tpu.

    Returns:
      The context.

    Raises:
      ValueError: the platform is unknown.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jax import export
      >>> from ddjax.models.convolution.conv import conv2d
      >>> with targeting("gpu"):
      ...     exported = export.export(jax.jit(conv2d), platforms=["cuda"])
      ...     program = exported(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)))
      >>> "stablehlo.convolution" in program.mlir_module()
      True
    """
    check_known("platform", platform, PLATFORMS)
    return _named(platform)


def compiler_options(steps: int) -> tuple[tuple[str, float], ...]:
    """Options for compiling a program that runs this number of steps.

    A TPU's compiler spends most of its time on a search for the fastest form of each convolution. The fewer steps a
    program has, the shorter is the search. `$JAX_EXEC_TIME_OPTIMIZATION_EFFORT` other than 0 is used for all programs
    instead.
    On a CPU, half the time to compile random draws goes into making them fast. A program of one step leaves that out;
    its values are the same.

    Args:
      steps: in the whole run; 1 for a program that runs once, such as an initialisation.

    Returns:
      Pairs of a name and a value, for `jax.jit(function, compiler_options=dict(pairs))`.

    Example:
      >>> compiler_options(10_000)
      ()
    """
    if target() == "cpu" and steps <= 1 and not jax.config.read("jax_disable_most_optimizations"):
        return (("xla_backend_optimization_level", 1),)
    chosen = getattr(jax.config, "jax_exec_time_optimization_effort", None)
    if target() != "tpu" or chosen != 0.0:  # JAX 0.12 has neither the setting nor the option
        return ()
    return next(((("exec_time_optimization_effort", effort),) for most, effort in EFFORTS if steps < most), ())
