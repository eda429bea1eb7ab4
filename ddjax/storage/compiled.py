"""Compiled programs on disk, so that a second process need not compile them again."""

import os

import jax

from ddjax.storage.files import cache_dir

LEAST = 0.2  # seconds that a stored program takes to compile; reading one takes a hundredth


def keep_compiled() -> None:
    """Store programs that take `LEAST` seconds or more to compile in ddjax's cache. The library's loops call this.

    A directory that the caller chose with `jax_compilation_cache_dir` or `$JAX_COMPILATION_CACHE_DIR` stays.
    `$JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS` replaces `LEAST`, and `$JAX_ENABLE_COMPILATION_CACHE=false` turns the
    cache off.
    """
    if jax.config.jax_enable_compilation_cache and jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "compiled"))
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
            jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST)
