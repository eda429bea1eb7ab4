"""Augmentations from a string of operations joined by underscores, such as "color_crop_cutout"."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ddjax.augment.ops import OPS, Size, crop
from ddjax.names import check_known
from ddjax.types import Images, PRNGKey

Augment = Callable[..., Images]  # (key, images, op_key=None) -> images
_ALWAYS = ("flip", "color", "cutout")


def keys(key: PRNGKey, op_key: PRNGKey | None) -> tuple[PRNGKey, PRNGKey]:
    """The key of the parameters and the key of the batch-wide operation.

    Under a vmap over students, `key` has a row for each student. With a shared `op_key` the drawn operation is one
    scalar, so the switch runs only that operation. With an operation key derived from `key` it would run all of them.
    """
    return jax.random.fold_in(key, 0), jax.random.fold_in(key, 1) if op_key is None else op_key


def parse(strategy: str) -> tuple[str, ...]:
    """The operations of a strategy, in its order.

    Raises:
      ValueError: an operation is unknown or repeated.
    """
    names = tuple(strategy.split("_"))
    for name in names:
        check_known(f"operation in strategy {strategy!r}:", name, OPS)
    if len(set(names)) < len(names):
        raise ValueError(f"strategy {strategy!r} names an operation twice")
    return names


def _pick(op_key: PRNGKey, count: int) -> Int[Array, ""]:
    return jax.random.randint(op_key, (), 0, count, jnp.int32)


def _draw(names: tuple[str, ...], key: PRNGKey, n: int, size: Size) -> dict[str, Any]:
    split = jax.random.split(key, len(names))
    return {name: OPS[name].draw(k, n, size) for name, k in zip(names, split, strict=True)}


def _switch(names: tuple[str, ...], choice: Int[Array, ""], params: dict[str, Any], images: Images) -> Images:
    # the parameters of all operations are drawn before, which is cheap: in a switch that a vmap turns into a select,
    # each branch would use the key
    branches = [lambda p, x, name=name: OPS[name].apply(p[name], x) for name in names]
    return jax.lax.switch(choice, branches, params, images)


@dataclasses.dataclass(frozen=True)
class DiffAug:
    """Fixed operations and one drawn operation. `draw` and `apply` are separate, so that batches can share a draw.

    The operations in `always` are applied each time, in the order flip, color, one of `choices`, cutout.
    """

    always: tuple[str, ...]
    choices: tuple[str, ...]
    per_sample: bool

    def draw(self, key: PRNGKey, n: int, size: Size, op_key: PRNGKey | None = None) -> dict[str, Any]:
        """Draw n rows of parameters for images of `size` (h, w). One row (n = 1) applies to a batch of any length."""
        key, op_key = keys(key, op_key)
        params = _draw(self.always + self.choices, key, n, size)
        if self.choices:
            params["choice"] = _pick(op_key, len(self.choices))
        return params

    def apply(self, params: dict[str, Any], images: Images) -> Images:
        """Apply drawn parameters. The result of an image does not depend on the other images."""
        for name in ("flip", "color"):
            if name in self.always:
                images = OPS[name].apply(params[name], images)
        if self.choices:
            images = _switch(self.choices, params["choice"], params, images)
        return OPS["cutout"].apply(params["cutout"], images) if "cutout" in self.always else images

    def __call__(self, key: PRNGKey, images: Images, op_key: PRNGKey | None = None) -> Images:
        """Draw and apply, with one row per image if `per_sample`, and else one row for the batch."""
        n = len(images) if self.per_sample else 1
        return self.apply(self.draw(key, n, images.shape[1:3], op_key), images)


def dsa(strategy: str = "color_crop_cutout_flip_scale_rotate") -> DiffAug:
    """One operation of the strategy per batch, drawn uniformly, with separate parameters for each image.

    DATM and its experts use it (differentiable siamese augmentation, Zhao and Bilen, 2021, arXiv:2102.08259).

    Args:
      strategy: names of operations joined by underscores.

    Returns:
      The augmentation.

    Raises:
      ValueError: an operation is unknown or repeated.

    Example:
      >>> dsa("crop_flip")(jax.random.key(0), jnp.zeros((2, 8, 8, 1))).shape
      (2, 8, 8, 1)
    """
    return DiffAug((), parse(strategy), per_sample=True)


def diffaug(strategy: str = "color_crop_cutout", per_sample: bool = False) -> DiffAug:
    """Always flip, color and cutout, if they are named, and exactly one of the other operations, drawn per batch.

    IDC and DANCE use it (Kim et al., 2022, arXiv:2205.14959). One row of parameters for a batch is the siamese draw
    that real and distilled images share.

    Args:
      strategy: names of operations joined by underscores.
      per_sample: whether each image has its own parameters.

    Returns:
      The augmentation.

    Raises:
      ValueError: an operation is unknown or repeated.

    Example:
      >>> diffaug("color_crop")(jax.random.key(0), jnp.zeros((2, 8, 8, 1))).shape
      (2, 8, 8, 1)
    """
    names = parse(strategy)
    always = tuple(name for name in _ALWAYS if name in names)
    return DiffAug(always, tuple(name for name in names if name not in _ALWAYS), per_sample)


def crop_flip(pad: int = 4, flip: bool = True) -> Augment:
    """The augmentation of standard training: a shift by up to `pad` pixels, then a flip with probability 0.5.

    Args:
      pad: largest shift.
      flip: False leaves the flip out.

    Returns:
      The augmentation.

    Example:
      >>> crop_flip(2)(jax.random.key(0), jnp.zeros((2, 8, 8, 1))).shape
      (2, 8, 8, 1)
    """

    ops = (crop(pad), OPS["flip"]) if flip else (crop(pad),)

    def augment(key: PRNGKey, images: Images, op_key: PRNGKey | None = None) -> Images:
        for op, k in zip(ops, jax.random.split(key), strict=False):
            images = op.apply(op.draw(k, len(images), images.shape[1:3]), images)
        return images

    return augment
