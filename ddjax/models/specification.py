"""The identity of a network in cache keys: the program that JAX traces from it, and a text for readers.

A name and options are not enough: the code behind a name changes, and a network made by hand has no name. The traced
program contains everything that decides a network's values, from its initialisers to its norms and its derivative.
"""

import functools
import hashlib
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ddjax import trees
from ddjax.backend import target
from ddjax.models.from_linen import merge_stats, split_stats
from ddjax.precision import asked
from ddjax.types import Images, Model, Params

IMAGES = 2  # in the traced batch; no network depends on the number
ADDRESS = re.compile(r" at 0x[0-9a-fA-FX]+")  # of a function in an equation, which differs between processes


def specification(model: Model, image_shape: tuple[int, ...]) -> dict[str, str | None]:
    """The part of a cache key that identifies the network.

    Args:
      model: the network.
      image_shape: (height, width, channels) of its images.

    Returns:
      "network": the model's text `spec`, empty for a model made by hand. "program": see `program`.
    """
    return {"network": model.spec, "program": program(model, image_shape)}


def program(model: Model, image_shape: tuple[int, ...]) -> str | None:
    """A hash of what JAX traces from the four functions and from the gradient of `train`.

    Equal programs have equal hashes in every process of one JAX version and backend. Arrays that the functions close
    over are part of the hash.

    Args:
      model: the network.
      image_shape: (height, width, channels) of its images.

    Returns:
      16 hex digits, or None where a function calls back into Python: its program does not show what it computes.
    """
    decides = asked(), jax.config.jax_enable_x64, target()
    return _program(model, tuple(image_shape), decides)


@functools.lru_cache(maxsize=32)  # a deep network takes seconds to trace, and a fleet asks once for each member
def _program(model: Model, image_shape: tuple[int, ...], decides: tuple[Any, ...]) -> str | None:
    del decides  # part of the cache's key: what a trace depends on besides its arguments
    key = jax.eval_shape(jax.random.key, 0)
    params = jax.eval_shape(model.init, key)
    images = jax.ShapeDtypeStruct((IMAGES, *image_shape), jnp.float32)
    weight = jax.ShapeDtypeStruct((IMAGES,), jnp.float32)

    def trained(params: Params, images: Images, weight: Array) -> Any:
        trainable, stats = split_stats(params)
        logits, back, updated = jax.vjp(
            lambda inner: model.train(merge_stats(inner, stats), images, weight), trainable, has_aux=True
        )
        return logits, updated, back(jnp.ones_like(logits))

    parts = [(model.init, key), (model.apply, params, images), (model.features, params, images)]
    digest = hashlib.sha256()
    for function, *arguments in [*parts, (trained, params, images, weight)]:
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        if any("callback" in equation.primitive.name for equation in equations(traced)):
            return None
        text = ADDRESS.sub("", traced.pretty_print(use_color=False, custom_pp_eqn_rules=False))
        digest.update(f"{text}\n{jax.tree.structure(shapes)}\n".encode())
        for constant in _constants(traced):
            array = np.ascontiguousarray(trees.raw(jnp.asarray(constant)))
            digest.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


def equations(jaxpr: Any) -> Iterator[Any]:
    """All equations of a jaxpr and of its nested jaxprs."""
    for inner in _jaxprs(jaxpr):
        yield from inner.eqns


def _jaxprs(jaxpr: Any) -> Iterator[Any]:
    yield jaxpr
    for equation in jaxpr.eqns:
        for parameter in _parameters(equation):
            if hasattr(parameter, "eqns"):
                yield from _jaxprs(parameter)


def _parameters(equation: Any) -> list[Any]:
    return jax.tree.leaves(list(equation.params.values()), is_leaf=lambda value: hasattr(value, "eqns"))


def _constants(jaxpr: Any) -> Iterator[Any]:
    # arrays, which the printed program shortens or replaces by names
    for inner in _jaxprs(jaxpr):
        yield from getattr(inner, "consts", ())
        for equation in inner.eqns:
            yield from (atom.val for atom in equation.invars if hasattr(atom, "val"))
            yield from (value for value in _parameters(equation) if isinstance(value, (np.ndarray, jax.Array)))
