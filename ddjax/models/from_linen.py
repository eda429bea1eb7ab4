"""A linen module as a `Model`. Support for another framework needs one file like this.

The module is called as `module(images, present)` and returns (logits, features). `present` is None in test mode, and a
0/1 weight per image in training mode.
"""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array

from ddjax.names import briefly
from ddjax.types import Model, Params, PRNGKey

STATS = "batch_stats"


def split_stats(params: Params) -> tuple[Params, Params]:
    """Split parameters into trainable ones and running statistics of batch norm ({} for a network without them)."""
    if not isinstance(params, dict) or STATS not in params:
        return params, {}
    return {name: value for name, value in params.items() if name != STATS}, params[STATS]


def merge_stats(trainable: Params, stats: Params) -> Params:
    """The inverse of `split_stats`."""
    return {**trainable, STATS: stats} if stats else trainable


def from_linen(module: nn.Module, image_shape: tuple[int, int, int]) -> Model:
    """The module as pure functions of a nested dict of parameters.

    Running statistics receive no gradient: they are constants in test mode, and `train` returns the updated ones
    behind a `stop_gradient`. A training batch without present images leaves them unchanged. Arithmetic is in the wider
    of the dtypes of images and parameters; parameters are initialised as float32.

    Args:
      module: called as `module(images, present)`, returns (logits, features).
      image_shape: [h w c] of the images.

    Returns:
      The network. Its functions raise a ValueError for images of another shape, or of integers.

    Raises:
      ValueError: the module is not called as `module(images, present=None)`.
    """
    try:
        for arguments in ((None,), (None, None)):
            inspect.signature(module.__call__).bind(*arguments)
    except TypeError as error:
        raise ValueError(f"__call__ of {type(module).__name__} must take (images, present=None): {error}") from error

    def check(images: Array) -> None:
        if images.shape[1:] != tuple(image_shape) or not jnp.issubdtype(images.dtype, jnp.floating):
            raise ValueError(
                f"this network takes floating-point images of shape {['n', *image_shape]}; "
                f"got {images.dtype}{list(images.shape)}. Preprocess pixels first, or build a network for this shape."
            )

    def variables(trainable: Params, stats: Params) -> dict[str, Any]:
        return {"params": trainable, **({STATS: jax.lax.stop_gradient(stats)} if stats else {})}

    @jax.jit  # otherwise each initialiser is compiled separately
    def init(key: PRNGKey) -> Params:
        filled = module.init(key, jnp.zeros((1, *image_shape)))
        return merge_stats(filled.get("params", {}), filled.get(STATS, {}))

    def forward(params: Params, images: Array) -> tuple[Array, Array]:
        check(images)
        outputs = module.apply(variables(*split_stats(params)), images)
        if not isinstance(outputs, tuple):
            raise ValueError(
                f"__call__ of {type(module).__name__} must return (logits [n k], features [n d]), where features are "
                f"what the last layer reads; got {briefly(outputs)}"
            )
        return outputs

    def train(params: Params, images: Array, weight: Array) -> tuple[Array, Params]:
        check(images)
        trainable, stats = split_stats(params)
        if not stats:
            return module.apply(variables(trainable, stats), images, weight)[0], params
        some = jnp.any(weight > 0)
        present = jnp.where(some, weight, jnp.ones_like(weight))  # the mean over no images is NaN
        (logits, _), updated = module.apply(variables(trainable, stats), images, present, mutable=[STATS])
        new_stats = jax.lax.stop_gradient(optax.tree.where(some, updated[STATS], stats))
        return logits, merge_stats(trainable, new_stats)

    return Model(
        init=init,
        apply=lambda params, images: forward(params, images)[0],
        features=lambda params, images: forward(params, images)[1],
        train=train,
        spec=f"{in_words(module)} of images {in_words(image_shape)}",
    )


def in_words(value: Any) -> str:
    """A module or an option as text that is the same in every process: functions and classes appear by name."""
    if value is None or isinstance(value, (bool, int, float, str, np.generic)):
        return repr(value.item() if isinstance(value, np.generic) else value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {in_words(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(in_words, value)) + "]"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hidden = ("parent", "name") if isinstance(value, nn.Module) else ()
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.name not in hidden}
        return f"{_name(type(value))}({', '.join(f'{name}={in_words(inner)}' for name, inner in fields.items())})"
    return _name(value if hasattr(value, "__qualname__") else type(value))


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"
